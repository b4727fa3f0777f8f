"""Many creators who are owed something, with accounts at the local Stripe, and what must be true when all are paid."""

import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid4

import msgspec

from domain.model.payouts import MINIMUM_CENTS
from local.stripe.fake import FakeStripe
from scheduler.outbox.steps import OUTBOX_MARK
from tests.domain.creators import DOLLAR, balances, make_creator, owe, sent
from tests.domain.world import World
from tests.scheduler.billed_many import gateway_of

CENT = DOLLAR // 100
MINIMUM = MINIMUM_CENTS * CENT


class Creator(msgspec.Struct, kw_only=True):
    """What a test knows of a creator, by its own sums."""

    id: UUID
    stripe_account_id: str
    old_micros: int = 0
    """Became payable long ago, less what was taken back since."""
    fresh_micros: int = 0

    @property
    def owed_micros(self) -> int:
        return self.old_micros + self.fresh_micros


class PayoutAsWritten(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    account_id: UUID
    status: str
    amount_cents: int
    reversed_cents: int
    stripe_transfer_id: str | None


async def creators_for(world: World, fake: FakeStripe, count: int) -> list[Creator]:
    """Make creators who can be paid, before anything goes wrong."""
    made: list[Creator] = []
    async with gateway_of(fake) as gateway:
        for number in range(count):
            account = await gateway.accounts.create(account_id=str(number), country=None, key=str(uuid4()))
            fake.onboard(account.id)
            made.append(Creator(id=await make_creator(world, account.id), stripe_account_id=account.id))
    return made


async def owe_some(
    world: World, creators: Sequence[Creator], chance: random.Random, *, old: datetime, fresh: datetime
) -> None:
    """Have everybody owed something: most enough, some too little, partly too fresh, or less again."""
    for creator in creators:
        for _ in range(chance.randint(1, 3)):
            micros = chance.randint(1, 6 * MINIMUM)
            creator.old_micros += micros
            await owe(world, creator.id, micros, at=old)
        if chance.random() < 0.3:
            micros = chance.randint(1, 2 * MINIMUM)
            creator.fresh_micros += micros
            await owe(world, creator.id, micros, at=fresh)
        if chance.random() < 0.2:
            micros = chance.randint(1, MINIMUM)
            creator.old_micros -= micros
            await owe(world, creator.id, -micros, at=old)


def expected_cents(creator: Creator, *, paid_cents: int = 0) -> int:
    """Return what the next payout is behind others that came to `paid_cents`, less what was taken back of them."""
    cents = (creator.old_micros - paid_cents * CENT) // CENT
    return cents if cents >= MINIMUM_CENTS and creator.owed_micros > paid_cents * CENT else 0


def expected(creators: Sequence[Creator], before: Sequence[PayoutAsWritten] = ()) -> dict[UUID, int]:
    """Return what each of them is paid next, in cents, without those who are not."""
    paid: Counter[UUID] = Counter()
    for row in before:
        if row.status == "paid":
            paid[row.account_id] += row.amount_cents - row.reversed_cents
    wanted = {creator.id: expected_cents(creator, paid_cents=paid[creator.id]) for creator in creators}
    return {creator_id: cents for creator_id, cents in wanted.items() if cents}


async def check_paid(world: World, fake: FakeStripe, creators: Sequence[Creator]) -> list[PayoutAsWritten]:
    """Assert that nobody was paid twice, and that books and Stripe say the same; return the payouts there are.

    `creators` say what became payable in all; whatever was not paid is payable still, to the micro.
    """
    names = ("id", "account_id", "status", "amount_cents", "reversed_cents", "stripe_transfer_id")
    rows = [
        PayoutAsWritten(**dict(zip(names, row, strict=True)))
        for row in await world.rows(
            "SELECT id, account_id, status, amount_cents, reversed_cents, stripe_transfer_id FROM payouts"
            " ORDER BY frozen_at, id"
        )
    ]
    at_stripe = {transfer["id"]: transfer for transfer in fake.objects("transfer")}
    paid = {row.stripe_transfer_id: row for row in rows if row.status == "paid"}
    assert None not in paid
    assert sorted(at_stripe) == sorted(str(name) for name in paid), "Stripe has other transfers than we do"
    marks = [transfer["metadata"][OUTBOX_MARK] for transfer in at_stripe.values()]
    assert len(set(marks)) == len(marks), "a payout went out twice"
    account_of = {creator.id: creator.stripe_account_id for creator in creators}
    for name, row in paid.items():
        transfer = at_stripe[str(name)]
        assert transfer["metadata"][OUTBOX_MARK] == str(row.id)
        assert (transfer["amount"], transfer["amount_reversed"]) == (row.amount_cents, row.reversed_cents)
        assert transfer["destination"] == account_of[row.account_id]
    net_cents = sum(row.amount_cents - row.reversed_cents for row in paid.values())
    assert await sent(world) == net_cents * CENT, "the ledger says something else went out"
    for creator in creators:
        mine = sum(row.amount_cents - row.reversed_cents for row in paid.values() if row.account_id == creator.id)
        left = creator.owed_micros - mine * CENT
        assert await balances(world, creator.id) == ({"payable": left} if left else {}), "a micro is lost"
    mails = await world.rows("SELECT event_id, count(*) FROM outgoing WHERE kind = 'mail' GROUP BY 1")
    assert {count for _, count in mails} <= {1}, "somebody is told twice"
    told = await world.rows("SELECT count(*) FROM outgoing WHERE kind = 'mail' AND event_type = 'payout.paid'")
    assert told == [(len(paid),)], "somebody is not told"
    assert await world.rows("SELECT count(*) FROM outbox WHERE status = 'pending'") == [(0,)]
    assert await world.rows("SELECT count(*) FROM payouts WHERE status = 'pending'") == [(0,)]
    return rows
