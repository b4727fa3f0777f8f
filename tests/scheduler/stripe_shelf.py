"""A Stripe with a shelf of objects that a test puts there: it answers GETs over HTTP, and fails as it is told.

For what must be counted or timed to the request; what Stripe does by itself is tried with `local.stripe`.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from domain.environment import Secret
from domain.vendor_settings import StripeSettings

WEBHOOK_SECRET: Final = "whsec_of_a_shelf"
CREATED: Final = 1_790_000_000


def subscription(customer_id: str, status: str, price_id: str = "price_pro") -> dict[str, Any]:
    price = {"id": price_id, "object": "price"}
    item = {"id": "si_1", "object": "subscription_item", "current_period_end": CREATED + 9, "price": price}
    return {
        "id": f"sub_{customer_id}",
        "object": "subscription",
        "customer": customer_id,
        "status": status,
        "created": CREATED,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "pause_collection": None,
        "latest_invoice": None,
        "default_payment_method": None,
        "metadata": {},
        "items": {"object": "list", "data": [item]},
    }


def invoice(invoice_id: str, customer_id: str | None, status: str) -> dict[str, Any]:
    return {
        "id": invoice_id,
        "object": "invoice",
        "customer": customer_id,
        "status": status,
        "total": 999,
        "currency": "usd",
        "auto_advance": True,
        "number": "N-1",
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "attempt_count": 1,
        "next_payment_attempt": None,
        "metadata": {},
    }


class Shelf:
    """`subscriptions` by customer, `invoices` by id; `faults` are statuses for the next answers, 0 hangs up."""

    def __init__(self) -> None:
        self.port = 0
        self.subscriptions: dict[str, list[dict[str, Any]]] = {}
        self.invoices: dict[str, dict[str, Any]] = {}
        self.faults: list[int] = []
        self.asked: Counter[str] = Counter()
        self.holds: list[asyncio.Event] = []
        """Each keeps one answer back until it is set, the next first; what is in the answer is decided before."""
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def wait_for(self, what: str, count: int) -> None:
        """Return once it was asked for so often."""
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: self.asked[what] >= count)

    @property
    def settings(self) -> StripeSettings:
        return StripeSettings(
            secret_key=Secret("sk_test_shelf"),
            webhook_secret=Secret(WEBHOOK_SECRET),
            price_pro="price_pro",
            price_enterprise="price_big",
            api_base=f"http://127.0.0.1:{self.port}",
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line = head.partition(b"\r\n")[0].decode()
                target = urlsplit(line.split()[1])
                status, body = self._answer(target.path, parse_qs(target.query))
                async with self._changed:
                    self.asked[target.path.rpartition("/")[2] if "invoices" in target.path else target.query] += 1
                    self._changed.notify_all()
                if self.holds:
                    await self.holds.pop(0).wait()
                if not status:
                    break
                raw = json.dumps(body).encode()
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(raw)) + raw)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    def _answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        if self.faults:
            status = self.faults.pop(0)
            return status, {"error": {"type": "api_error", "message": f"a fault of {status}"}}
        if path == "/v1/subscriptions":
            data = self.subscriptions.get(query["customer"][0], [])
            return 200, {"object": "list", "has_more": False, "url": path, "data": data}
        found = self.invoices.get(path.rpartition("/")[2])
        if found is None:
            return 404, {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "no such"}}
        return 200, found

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def shelf() -> AsyncGenerator[Shelf]:
    made = Shelf()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, backlog=2048)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.close()
