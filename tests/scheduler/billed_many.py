"""Many accounts that owe for metered casts to the local Stripe, and what must be true when all are billed."""

import os
import random
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, cast
from uuid import UUID, uuid4

import msgspec
import psycopg

from domain.settings import Secret, StripeSettings
from domain.store.connection import ANY_PLANS, Connection, Pool, Role, open_pool
from gateways.stripe.client import StripeGateway
from local.stripe.fake import FakeStripe
from scheduler.jobs import Clockwork
from scheduler.outbox.loop import Outbox
from scheduler.outbox.steps import OUTBOX_MARK
from tests.domain.world import World

SEED = int(os.environ.get("SEED", "11"))
# Long enough for an answer on a busy machine, short enough for a test that waits for many that never come.
SECONDS_MAX = 0.6
SILENCE_S = 1.0
# Where nothing is silent on purpose.
PATIENCE_S = 20.0


# Stripe's clock is ahead of every instant the tests choose, whatever the machine's says: a look goes back from ours.
STRIPE_BEGINS_S = datetime(2030, 1, 1, tzinfo=UTC).timestamp() - time.monotonic()


def stripe_clock() -> float:
    return STRIPE_BEGINS_S + time.monotonic()


class KilledError(BaseException):
    """The process dies here."""


def gateway_of(fake: FakeStripe, *, seconds_max: float = PATIENCE_S) -> StripeGateway:
    settings = StripeSettings(
        secret_key=Secret(fake.secret_key),
        webhook_secret=Secret(fake.webhook_secret),
        price_pro=None,
        api_base=fake.url,
    )
    return StripeGateway(settings, seconds_max=seconds_max)


def break_things(fake: FakeStripe) -> None:
    """10 % done and not answered, 5 % 500, 5 % 429, 2 % reset."""
    for kind, rate in (
        *(("timeout", 0.10), ("error", 0.025), ("error_after", 0.025)),
        *(("rate_limit", 0.05), ("reset", 0.01), ("reset_after", 0.01)),
    ):
        fake.fail(kind, rate=rate, calls=None, seconds=SILENCE_S)


def clockwork_of(pool: Pool, *, billing: bool = True) -> Clockwork:
    return Clockwork(pool=pool, slow_pool=pool, redis=cast("Any", None), token_key=b"", billing=billing)


async def send(pool: Pool, fake: FakeStripe, now: datetime) -> None:
    """Send what is due, until nothing is."""
    async with gateway_of(fake) as gateway:
        outbox = Outbox(pool, gateway)
        while await outbox.run_once(now):
            pass


def own_pool(world: World) -> Pool:
    """A process that dies takes its connections along: none is used by the next."""
    return open_pool(world.database_url, role=Role.ENGINE, size_max=8, plans=ANY_PLANS)


async def customers_for(fake: FakeStripe, count: int) -> list[str]:
    """Make customers before anything goes wrong."""
    async with gateway_of(fake) as gateway:
        made = [
            await gateway.customers.create(email=None, name=f"c{number}", account_id=str(number), key=str(uuid4()))
            for number in range(count)
        ]
    return [customer.id for customer in made]


async def owe(
    world: World, customers: Sequence[str], months: Sequence[date], chance: random.Random, *, at_least: int = 1
) -> dict[UUID, int]:
    """Make an account for each customer that owes for casts of the world's spell; return what each owes, in micros."""
    owed: dict[UUID, int] = {}
    async with await psycopg.AsyncConnection.connect(world.database_url) as owner, owner.cursor() as cursor:
        for customer_id in customers:
            account_id = uuid4()
            await cursor.execute(
                b"INSERT INTO accounts (id, handle) VALUES (%s, %s)", (account_id, f"a{account_id.hex[:12]}")
            )
            await cursor.execute(
                b"INSERT INTO billing_accounts (account_id, stripe_customer_id, created_at, updated_at)"
                b" VALUES (%s, %s, now(), now())",
                (account_id, customer_id),
            )
            owed[account_id] = 0
            for month in chance.sample(months, chance.randint(at_least, len(months))):
                owed[account_id] += await use(owner, world, account_id, month, chance)
    return owed


async def use(
    owner: psycopg.AsyncConnection, world: World, account_id: UUID, month: date, chance: random.Random
) -> int:
    """Book what some casts cost, as the ledger does; return it."""
    micros = 0
    for kind, payee in (("cast_fee", "revenue:platform"), ("creator_share", f"creator:{world.creator_id}")):
        amount = chance.randint(1, 3_000_000)
        micros += amount
        await owner.execute(
            b"INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, spell_id,"
            b" month, casts) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                *(uuid4(), uuid4(), kind, f"receivable:{account_id}", payee, amount, account_id, world.spell_id),
                *(month, chance.randint(1, 50) if kind == "cast_fee" else 0),
            ),
        )
    return micros


class InvoiceAsWritten(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    account_id: UUID
    status: str
    total_cents: int
    carry_out_micros: int
    stripe_invoice_id: str | None
    description: str


async def check_books(world: World, fake: FakeStripe, owed: Mapping[UUID, int]) -> int:
    """Assert that everybody was billed once, to the micro, at Stripe as here; return how many invoices there are."""
    rows = [
        InvoiceAsWritten(
            id=row[0], account_id=row[1], status=row[2], total_cents=row[3], carry_out_micros=row[4],
            stripe_invoice_id=row[5], description=row[6],
        )
        for row in await world.rows(
            "SELECT id, account_id, status, total_cents, carry_out_micros, stripe_invoice_id, description"
            " FROM invoices ORDER BY frozen_at"
        )
    ]  # fmt: skip
    for account_id, micros in owed.items():
        mine = [row for row in rows if row.account_id == account_id]
        assert sum(row.total_cents for row in mine) * 10_000 + mine[-1].carry_out_micros == micros, "a micro is lost"
    sent = {row.stripe_invoice_id: row for row in rows if row.total_cents}
    assert None not in sent, "something was never finalized"
    at_stripe = fake.invoices()
    assert sorted(invoice["id"] for invoice in at_stripe) == sorted(sent), "Stripe has others than we do"
    items = fake.objects("invoiceitem")
    for invoice in at_stripe:
        row = sent[invoice["id"]]
        assert (invoice["total"], invoice["status"], invoice["auto_advance"]) == (row.total_cents, "open", True)
        assert invoice["metadata"][OUTBOX_MARK] == str(row.id)
        assert invoice["description"] == row.description
        mine = [item for item in items if item["invoice"] == invoice["id"]]
        assert sum(item["amount"] for item in mine) == row.total_cents, "lines are missing, or there twice"
        marks = [item["metadata"]["spell_item"] for item in mine]
        assert sorted(marks) == sorted({str(number) for number in range(len(mine))}), "a line is there twice"
    mails = await world.rows("SELECT event_id, count(*) FROM outgoing WHERE kind = 'mail' GROUP BY 1")
    assert {count for _, count in mails} <= {1}, "somebody is told twice"
    assert await world.rows("SELECT count(*) FROM outbox WHERE status <> 'done'") == [(0,)]
    return len(rows)


class DyingPool:
    """A pool whose process dies at its `dies_at`-th use: before it or behind its COMMIT, by turns."""

    def __init__(self, pool: Pool, dies_at: int) -> None:
        self._pool = pool
        self._left = dies_at

    async def getconn(self) -> Connection:
        self._come_nearer()
        return await self._pool.getconn()

    async def putconn(self, connection: Connection) -> None:
        await self._pool.putconn(connection)
        self._come_nearer()

    def _come_nearer(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise KilledError
