"""Casts on bills, on bought and on given credits; invoices that are carried, paid, given up, voided; purchases that are
refunded and disputed; casts that are paid back: in any order and each piece of news twice. After every step creators
have what a model says that follows each cast alone, and never more than was collected."""

import os
import random
from collections.abc import AsyncGenerator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from domain.flow.apply_order import apply_order
from domain.flow.collect_shares import collect_grant
from domain.flow.follow_usage_invoice import follow_usage_invoice
from domain.flow.refund_cast import refund_cast
from domain.flow.refund_order import end_refund, refund_order
from domain.flow.settle import settle
from domain.model.audit import OPERATOR
from domain.model.credit_orders import DisputeFacts, Facts
from domain.model.errors import RefusedError
from domain.model.funding import Funding
from domain.model.messages import CastJob
from domain.model.outbox import Finished, OutboxStatus
from domain.model.periods import month_of, next_month
from domain.model.stripe_money import Invoice
from domain.store import earnings, identity
from domain.store.connection import transaction
from tests.domain.admitted import accept
from tests.domain.billing import Billed, open_billed
from tests.domain.credit_books import PRICE, give, order
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.share_books import Followed, broken_shares, expected, parts_of, places
from tests.domain.world import TOKEN_KEY, World, make_world

# More of them, or others: the seed is in the name of each test.
SEEDS = int(os.environ.get("MONEY_EXAMPLES", "4"))
STEPS = int(os.environ.get("MONEY_STEPS", "60"))
FIRST_SEED = int(os.environ.get("MONEY_SEED", "1"))
CENT = 10_000
TICK = timedelta(milliseconds=1)
START = datetime.now(UTC).replace(microsecond=0)
MONTHS = [
    date(START.year + (START.month - 1 + ahead) // 12, (START.month - 1 + ahead) % 12 + 1, 1) for ahead in range(9)
]


@pytest.fixture
async def billed(database_url: str) -> AsyncGenerator[Billed]:
    async with open_billed(database_url, months=MONTHS) as opened:
        yield opened


class Books:
    """The world, the clock, and the model of it."""

    def __init__(self, billed: Billed, other: World, seed: int) -> None:
        self.billed, self.pool, self.world = billed, billed.pool, billed.world
        self.worlds = (billed.world, other)
        self.chance = random.Random(seed)
        self.now = START
        self.open: list[CastJob] = []
        self.casts: dict[UUID, Followed] = {}
        self.orders: dict[UUID, Facts] = {}
        self.done: list[str] = []

    async def step(self) -> None:
        steps = (
            *(self.accept,) * 5, *(self.settle,) * 4, self.buy, self.give, self.refund_at_stripe, self.dispute,
            self.refund_unused, *(self.freeze,) * 2, *(self.follow,) * 4, self.pay_back, self.pay_back, self.wait,
            self.collect,
        )  # fmt: skip
        chosen = self.chance.choice(steps)
        self.done.append(chosen.__name__)
        self.now += TICK
        await self.billed.at(self.now)
        await chosen()

    async def accept(self) -> None:
        casts = self.chance.randint(1, 3)
        specs = [
            self.chance.choice(self.worlds).spec(creator_price_micros=self.chance.choice([0, 777, 300_001, 700_000]))
            for _ in range(casts)
        ]
        self.open += await accept(self.world, self.pool, *specs)

    async def settle(self) -> None:
        jobs = self.chance.sample(self.open, k=min(len(self.open), self.chance.randint(1, 3)))
        self.open = [job for job in self.open if job not in jobs]
        for _ in range(2):
            async with transaction(self.pool) as connection:
                await settle(connection, [event_of(job) for job in jobs], batch_id=uuid4(), token_key=TOKEN_KEY)
        for job in jobs:
            await self._follow_cast(job.cast_id)

    async def _follow_cast(self, cast_id: UUID) -> None:
        ((creator, accepted, funding, price, cost, grants, micros),) = await self.world.rows(
            "SELECT creator_id, accepted_at, funding, creator_price_micros, cost_micros, grant_ids, grant_micros"
            " FROM casts WHERE id = %s",
            cast_id,
        )
        share = price - price * 20 // 100
        parts = parts_of(grants, micros, cost=cost, share=share) if funding == "credits" else {}
        self.casts[cast_id] = Followed(
            creator_id=creator,
            month=month_of(accepted),
            funding=Funding(funding),
            share=share,
            parts=parts,
            settled_at=self.now,
        )

    async def buy(self) -> None:
        order_id = await order(self.world, self.pool)
        self.orders[order_id] = Facts(payment="paid", paid_micros=PRICE, payment_id=f"pi_{order_id}")
        await self._hear(order_id)

    async def give(self) -> None:
        await give(self.world, self.pool, self.chance.randint(1_000, 1_500_000))

    async def refund_at_stripe(self) -> None:
        if self.orders:
            order_id, known = self.chance.choice(list(self.orders.items()))
            refunded = min(PRICE, known.refunded_micros + self.chance.randint(1, 999) * CENT)
            self.orders[order_id] = Facts(
                payment="paid", paid_micros=PRICE, refunded_micros=refunded, disputes=known.disputes
            )
            await self._hear(order_id)

    async def dispute(self) -> None:
        """A dispute begins; one that is open is won, and then there is no other."""
        if self.orders:
            order_id, known = self.chance.choice(list(self.orders.items()))
            money = known.disputes[0].money_micros if known.disputes else self.chance.randint(1, 1_100) * CENT
            disputes = (DisputeFacts(id=f"dp_{order_id}", money_micros=money, won=bool(known.disputes)),)
            self.orders[order_id] = Facts(
                payment="paid", paid_micros=PRICE, refunded_micros=known.refunded_micros, disputes=disputes
            )
            await self._hear(order_id)

    async def _hear(self, order_id: UUID) -> None:
        for _ in range(2):
            async with transaction(self.pool) as connection:
                await apply_order(connection, order_id=order_id, facts=self.orders[order_id], now=self.now)

    async def refund_unused(self) -> None:
        if not self.orders:
            return
        refund_id, is_refused = uuid4(), self.chance.random() < 0.5
        try:
            async with transaction(self.pool) as connection:
                await refund_order(
                    connection, order_id=self.chance.choice(list(self.orders)), refund_id=refund_id,
                    credits_micros=self.chance.randint(CENT, 5_000_000), actor=OPERATOR, now=self.now,
                )  # fmt: skip
        except RefusedError:
            return
        finished = Finished(
            id=refund_id, account_id=self.world.account_id, subject_id=refund_id, frozen=b"{}", known={},
            status=OutboxStatus.REFUSED if is_refused else OutboxStatus.DONE,
        )  # fmt: skip
        async with transaction(self.pool) as connection:
            await identity.account_lock(connection, account_id=self.world.account_id)
            await end_refund(connection, finished, self.now)

    async def freeze(self) -> None:
        """Bill a month that is over, whichever; when none is left the next one ends."""
        frozen = {row[0] for row in await self.world.rows("SELECT period FROM invoices")}
        over = [month for month in MONTHS if month < month_of(self.now) and month not in frozen]
        if not over:
            await self._move_to(
                datetime.combine(next_month(month_of(self.now)), datetime.min.time(), UTC) + timedelta(hours=6)
            )
            return
        period = self.chance.choice(over)
        judged = await self.billed.freeze(period, self.now)
        if judged.outcome in {"frozen", "carried"}:
            ((invoice_id,),) = await self.world.rows("SELECT id FROM invoices WHERE period = %s", period)
            for cast in self.casts.values():
                if cast.funding is Funding.METERED and cast.month <= period and cast.invoice_id is None:
                    cast.invoice_id = invoice_id

    async def follow(self) -> None:
        """Stripe tells of an invoice; what cannot be any more changes nothing."""
        invoices = await self.world.rows("SELECT id FROM invoices WHERE total_cents > 0 ORDER BY id")
        if invoices:
            (invoice_id,) = self.chance.choice(invoices)
            status = self.chance.choice(["open", "paid", "paid", "uncollectible", "void"])
            told = Invoice(
                id=f"in_{invoice_id}", customer_id="cus_1", status=status, total_cents=75, currency="usd",
                is_advancing=True, number="S-1", hosted_url=None, pdf_url=None, attempts=1,
                next_payment_attempt_at=None, metadata={},
            )  # fmt: skip
            for _ in range(2):
                async with transaction(self.pool) as connection:
                    await follow_usage_invoice(connection, invoice_id, told, now=self.now)

    async def pay_back(self) -> None:
        if self.casts:
            cast_id = self.chance.choice(list(self.casts))
            for _ in range(2):
                async with transaction(self.pool) as connection:
                    await refund_cast(connection, cast_id=cast_id, reason="sorry", actor=OPERATOR, now=self.now)
            self.casts[cast_id].refunded = True

    async def wait(self) -> None:
        await self._move_to(self.now + timedelta(hours=36 * self.chance.randint(1, 6)))

    async def _move_to(self, instant: datetime) -> None:
        if month_of(instant) in MONTHS[:-1]:
            self.now = instant
            await self.billed.at(instant)

    async def collect(self) -> None:
        """The clock has its turn, twice; after that every share is where the model has it."""
        for _ in range(2):
            async with transaction(self.pool) as connection:
                due = await earnings.grants_due(connection, after=UUID(int=0), now=self.now, limit=10_000)
                await identity.account_lock(connection, account_id=self.world.account_id)
                for grant_id, account_id in due:
                    await collect_grant(connection, account_id=account_id, grant_id=grant_id, now=self.now)
        casts = list(self.casts.values())
        assert await places(self.world) == await expected(self.world, casts, now=self.now), self.done


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
async def test_creators_have_what_was_collected_whatever_happens_in_whatever_order(billed: Billed, seed: int) -> None:
    books = Books(billed, await make_world(billed.world.database_url, billing="auto"), seed)
    for _ in range(STEPS):
        await books.step()
        assert await broken_shares(books.world) == {}, books.done
    await books.collect()
    assert await broken(books.world.database_url) == {}
