"""How requests reach Stripe: bounded in time and size, over connections that are kept, with nothing of the environment.

The library's own client takes proxies from the environment, waits for each byte as long as for the first, and reads
answers of any size.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

import httpx
import stripe

from gateways.stripe.errors import StripeBusy, StripeUnknown

# To connect, and between two pieces of an answer. Stripe's own slowest answers take a few seconds.
CONNECT_SECONDS_MAX: Final = 5.0
READ_SECONDS_MAX: Final = 15.0
# A whole request; leases of rows that ask are longer.
SECONDS_MAX: Final = 20.0
# A page of a hundred invoices with their lines is less than one.
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
# Stripe's own limit is a hundred requests a second; one process needs a few at a time.
CONNECTIONS_MAX: Final = 16

# Nothing was sent, so nothing was done.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# It writes a line for each request, at the level of our own.
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("stripe").setLevel(logging.WARNING)


class Transport(stripe.HTTPClient):
    """What the library sends its requests with. Raises StripeBusy and StripeUnknown for what happens on the way."""

    name = "httpx"

    def __init__(self, *, seconds_max: float = SECONDS_MAX) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]  # one of its parameters has no type
        self._seconds_max: Final = seconds_max
        self._client: Final = httpx.AsyncClient(
            timeout=httpx.Timeout(READ_SECONDS_MAX, connect=CONNECT_SECONDS_MAX),
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
            verify=httpx.create_ssl_context(trust_env=False),
            trust_env=False,
            follow_redirects=False,
        )

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | bytes | None = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send one request; return body, status and headers."""
        try:
            async with asyncio.timeout(self._seconds_max):
                return await self._exchange(method, url, headers, post_data)
        except _NOT_SENT as failure:
            message = f"Stripe cannot be reached: {type(failure).__name__}; check STRIPE_API_BASE and the network"
            raise StripeBusy(message) from None
        except (httpx.HTTPError, TimeoutError) as failure:
            message = f"Stripe's outcome is in doubt: {type(failure).__name__} before the whole answer"
            raise StripeUnknown(message) from None

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | bytes | None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        body = bytearray()
        async with self._client.stream(method, url, headers=dict(headers), content=post_data) as answer:
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > ANSWER_BYTES_MAX:
                    message = f"Stripe's outcome is in doubt: an answer of more than {ANSWER_BYTES_MAX} bytes"
                    raise StripeUnknown(message, status=answer.status_code)
        return bytes(body), answer.status_code, answer.headers

    async def close_async(self) -> None:
        """Close what is kept open."""
        await self._client.aclose()
