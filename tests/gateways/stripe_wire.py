"""A server on a socket that gives one answer to everything, byte by byte, in Stripe's place."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qs, unquote

import msgspec

from domain.environment import Secret
from domain.vendor_settings import StripeSettings
from gateways.stripe.client import StripeGateway

KEY: Final = "sk_test_Canary0Canary0Canary0"


class Asked(msgspec.Struct, frozen=True):
    line: str
    headers: dict[str, str]
    fields: dict[str, str]


class Wire:
    """A server that gives one answer to everything; an empty one hangs up, None never comes."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        fields = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.asked.append(Asked(unquote(head[0]), headers, fields))
        if self.answer is not None:
            writer.write(self.answer)
            writer.write_eof()
        # Until the other side has closed: an abort before that would take the bytes along.
        await reader.read()
        writer.transport.abort()
        self._tasks.discard(task)

    async def close(self) -> None:
        await asyncio.gather(*self._tasks)


def answer(status: int, body: object, **headers: str) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(raw)}", "request-id: req_7", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + raw


def problem(status: int, **error: str) -> bytes:
    return answer(status, {"error": error})


@asynccontextmanager
async def stripe_says(said: bytes | None, *, seconds_max: float = 60.0) -> AsyncGenerator[tuple[StripeGateway, Wire]]:
    wire = Wire(said)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    settings = StripeSettings(
        secret_key=Secret(KEY),
        webhook_secret=Secret("whsec_x"),
        price_pro="price_pro",
        api_base=f"http://127.0.0.1:{wire.port}",
    )
    async with StripeGateway(settings, seconds_max=seconds_max) as gateway:
        yield gateway, wire
    server.close()
    await wire.close()
