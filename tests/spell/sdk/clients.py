"""Does the same with both clients: what is proved of one is proved of the other."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import httpx

from spell import AsyncClient, Client

Do = Callable[..., Any]
# Reading the machine's certificates takes longer than most tests, and nothing here speaks TLS.
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


def blocking(
    url: str,
    call: Callable[[Any], Any],
    *,
    time: Time | None = None,
    key: str = "k",
    transport: httpx.MockTransport | None = None,
    **options: Any,
) -> Any:
    """Return what `call` gives with a client of its own; every row of what is iterated over."""
    time = time or Time()
    with (
        httpx.Client(trust_env=False, verify=NO_CERTIFICATES, transport=transport) as http,
        Client(
            api_key=key,
            base_url=url,
            http_client=http,
            sleep=time.sleep,
            clock=time.clock,
            **{"chance": lambda: 0.5, **options},
        ) as client,
    ):
        found = call(client)
        return (
            list(found) if hasattr(found, "__iter__") and not isinstance(found, bytes | list | dict | tuple) else found
        )


def awaiting(
    url: str,
    call: Callable[[Any], Any],
    *,
    time: Time | None = None,
    key: str = "k",
    transport: httpx.MockTransport | None = None,
    **options: Any,
) -> Any:
    """Return what `call` gives with a client of its own, awaited; every row of what is iterated over."""
    time = time or Time()

    async def run() -> Any:
        async with (
            httpx.AsyncClient(trust_env=False, verify=NO_CERTIFICATES, transport=transport) as http,
            AsyncClient(
                api_key=key,
                base_url=url,
                http_client=http,
                sleep=time.sleep_async,
                clock=time.clock,
                **{"chance": lambda: 0.5, **options},
            ) as client,
        ):
            found = call(client)
            return [row async for row in found] if hasattr(found, "__aiter__") else await found

    return asyncio.run(run())
