"""What creators are shown is added up from their own rows alone, and from all of these (`make mutants`)."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

from domain.model.ledger import UNCOLLECTED, creator_of, payable_of, paying_of, receivable_of, unbilled_of
from domain.store import earned
from domain.store.connection import Connection, Pool, transaction
from tests.domain.world import World

NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)
OCTOBER, NOVEMBER = date(2026, 10, 1), date(2026, 11, 1)
TENTH = date(2026, 11, 10)
MICROSECOND = timedelta(microseconds=1)


async def book(
    world: World,
    kind: str,
    debit: str,
    credit: str,
    micros: int,
    *,
    account_id: UUID | None = None,
    spell_id: UUID | None = None,
    month: date = NOVEMBER,
    at: datetime = NOON,
) -> None:
    await world.rows(
        "INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, spell_id, month,"
        " created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        *(uuid4(), uuid4(), kind, debit, credit, micros, account_id or world.account_id, spell_id, month, at),
    )


async def share(world: World, micros: int, spell_id: UUID | None = None, *, at: datetime = NOON) -> None:
    """Book what a cast earned, accepted in the month it is booked in."""
    payer, month = receivable_of(world.account_id), at.date().replace(day=1)
    spell = spell_id or world.spell_id
    await book(world, "creator_share", payer, creator_of(world.creator_id), micros, spell_id=spell, month=month, at=at)


async def refund(world: World, micros: int, spell_id: UUID | None = None, *, at: datetime = NOON) -> None:
    payer = receivable_of(world.account_id)
    spell = spell_id or world.spell_id
    await book(world, "refund_share", creator_of(world.creator_id), payer, micros, spell_id=spell, at=at)


async def move(world: World, kind: str, debit: str, credit: str, micros: int) -> None:
    await book(world, kind, debit, credit, micros, account_id=world.creator_id)


async def pay_out(world: World, run_id: UUID, cents: int, period: date, *, done: bool) -> None:
    """Freeze a payout, and have Stripe confirm it when it is done."""
    owner = world.creator_id
    await move(world, "payout", payable_of(owner), paying_of(owner), cents * 10_000)
    await world.rows(
        "INSERT INTO payouts (id, account_id, run_id, period, frozen_at, payable_micros, held_back_micros,"
        " amount_cents, stripe_account_id, status, finished_at)"
        " VALUES (%s, %s, %s, %s, now(), 10000000, 0, %s, 'acct_1', %s, %s)",
        *(uuid4(), owner, run_id, period, cents, "paid" if done else "pending", NOON if done else None),
    )
    if done:
        await move(world, "payout_paid", paying_of(owner), "cash:stripe", cents * 10_000)


async def everywhere(world: World, run_id: UUID, unit: int) -> None:
    """Have a creator's money in every place: each amount is another part of the unit."""
    creator, payable = creator_of(world.creator_id), payable_of(world.creator_id)
    payer, unbilled = receivable_of(world.account_id), unbilled_of(world.account_id)
    await share(world, 1_000_000 * unit)
    await book(world, "creator_share", unbilled, creator, 50_000 * unit)
    await refund(world, 3_000 * unit)
    await book(world, "refund_share", creator, unbilled, 7_000 * unit)
    # Who pays back may be a creator too, and then the row is his.
    await book(world, "refund_share", creator, payer, 1_000 * unit, account_id=world.creator_id)
    await move(world, "share_collected", creator, payable, 600_000 * unit)
    await move(world, "share_returned", payable, creator, 100_000 * unit)
    await move(world, "share_lost", creator, UNCOLLECTED, 20_000 * unit)
    await move(world, "share_lost", payable, UNCOLLECTED, 4_000 * unit)
    await move(world, "share_collected", UNCOLLECTED, payable, 9_000 * unit)
    await pay_out(world, run_id, 11 * unit, OCTOBER, done=True)
    await pay_out(world, run_id, 13 * unit, NOVEMBER, done=False)


async def test_a_creators_money_is_found_where_it_is_and_nobody_elses(
    world: World, neighbour: World, pool: Pool
) -> None:
    run_id = uuid4()
    await world.rows("INSERT INTO payout_runs (id, period, started_at) VALUES (%s, %s, now())", run_id, OCTOBER)
    for one, unit in ((world, 1), (neighbour, 5)):
        await everywhere(one, run_id, unit)
    async with transaction(pool) as connection:
        found = await earned.balance_read(connection, account_id=world.creator_id)
    assert found == earned.EarnedBalance(
        earned_micros=1_000_000 + 50_000 - 3_000 - 7_000 - 1_000,
        unbilled_micros=50_000 - 7_000,
        pending_micros=1_000_000 - 3_000 - 1_000 - 600_000 + 100_000 - 20_000,
        lost_micros=20_000 + 4_000 - 9_000,
        payable_micros=600_000 - 100_000 - 4_000 + 9_000 - 110_000 - 130_000,
        under_way_micros=130_000,
        paid_micros=110_000,
    )


async def test_months_are_those_of_booking_in_order(world: World, neighbour: World, pool: Pool) -> None:
    begin = datetime(2026, 5, 1, tzinfo=UTC)
    for months in (6, 1, 4, 0, 3, 5, 2):
        at = begin.replace(month=begin.month + months)
        await share(world, 10 + months, at=at)
        await share(neighbour, 10_000, at=at)
        await refund(neighbour, 10_000, at=at)
    await refund(world, 3, at=begin)
    # Too early by a microsecond; accepted as long ago as is possible; paid by nobody.
    await share(world, 500, at=begin - MICROSECOND)
    await refund(world, 700, at=begin - MICROSECOND)
    creator, payer = creator_of(world.creator_id), receivable_of(world.account_id)
    await book(world, "creator_share", payer, creator, 2_000, month=date(2026, 3, 1), at=begin)
    for kind, debit, credit in (("creator_share", "unbilled:x", creator), ("refund_share", creator, "unbilled:x")):
        await book(world, kind, debit, credit, 90_000, at=begin)
    # Other ways to and from what is pending are no earnings.
    await move(world, "share_returned", payable_of(world.creator_id), creator, 80_000)
    await move(world, "share_collected", creator, payable_of(world.creator_id), 80_000)
    async with transaction(pool) as connection:
        await hash_groups(connection)
        found = await earned.months_read(connection, account_id=world.creator_id, first=begin.date())
    assert [(row.month.month, row.earned_micros, row.refunded_micros) for row in found] == [
        (5, 2_010, 3), *((month, 5 + month, 0) for month in range(6, 12)),
    ]  # fmt: skip


async def hash_groups(connection: Connection) -> None:
    """Have groups come as they fall: their order is the statement's or none."""
    await connection.execute(b"SET LOCAL enable_sort = off")


async def parts(
    world: World, pool: Pool, first: date, last: date, *, by_day: bool, by_spell: bool, limit: int = 100
) -> list[tuple[int, str, int, int, int]]:
    """Return the parts as day of the month, spell, casts, earned and refunded."""
    async with transaction(pool) as connection:
        await hash_groups(connection)
        found = await earned.parts_read(
            connection, account_id=world.creator_id, first=first, last=last, by_day=by_day, by_spell=by_spell,
            limit=limit,
        )  # fmt: skip
    return [
        (
            row.day.day if row.day else 0,
            (row.spell or "/").partition("/")[2],
            row.casts,
            row.earned_micros,
            row.refunded_micros,
        )
        for row in found
    ]


async def count(
    world: World,
    casts: int,
    spell_id: UUID,
    day: date = TENTH,
    *,
    dimension: str = "spell",
    period: str = "day",
    funding: str = "metered",
) -> None:
    """Count casts of a spell, which its creator is asked about."""
    await world.rows(
        "INSERT INTO usage_counters (account_id, dimension, subject_id, period, starts_on, funding, casts, failed,"
        " fuel, cpu_us, cost_micros) VALUES (%s, %s, %s, %s, %s, %s, %s, 0, 0, 0, 0)",
        *(world.creator_id, dimension, spell_id, period, day, funding, casts),
    )


async def add_spells(world: World, *names: str) -> list[UUID]:
    ids = sorted(uuid4() for _ in names)
    for spell_id, name in zip(ids, names, strict=True):
        query = "INSERT INTO spells (id, account_id, name) VALUES (%s, %s, %s)"
        await world.rows(query, spell_id, world.creator_id, name)
    return ids


async def test_a_day_ends_where_the_next_begins(world: World, neighbour: World, pool: Pool) -> None:
    begin = datetime(2026, 11, 10, tzinfo=UTC)
    ending = begin + timedelta(days=3)
    for at, micros in ((begin - MICROSECOND, 1), (begin, 20), (ending - MICROSECOND, 300), (ending, 4_000)):
        await share(world, micros, at=at)
        await refund(world, micros // 10 or 1, at=at)
        await share(neighbour, 50_000, at=begin)
        await refund(neighbour, 50_000, at=begin)
    for days in range(-1, 4):
        await count(world, 10 + days, world.spell_id, TENTH + timedelta(days=days))
    await count(neighbour, 1_000, neighbour.spell_id)
    last = TENTH + timedelta(days=2)
    assert await parts(world, pool, TENTH, last, by_day=True, by_spell=False) == [
        (10, "", 10, 20, 2), (11, "", 11, 0, 0), (12, "", 12, 300, 30),
    ]  # fmt: skip


async def test_only_what_was_earned_by_casts_counts_as_earned(world: World, pool: Pool) -> None:
    creator, payable, payer = (name(world.creator_id) for name in (creator_of, payable_of, receivable_of))
    await share(world, 20)
    await refund(world, 3)
    spell = world.spell_id
    for kind, debit, credit in (("creator_share", "unbilled:x", creator), ("refund_share", creator, "unbilled:x")):
        await book(world, kind, debit, credit, 90_000, spell_id=spell)
    await move(world, "share_returned", payable, creator, 80_000)
    await move(world, "share_collected", creator, payable, 80_000)
    # Accepted as long ago as is possible.
    await book(world, "creator_share", payer, creator, 400, spell_id=spell, month=OCTOBER)
    await count(world, 7, spell)
    await count(world, 70, spell, funding="free")
    await count(world, 100, spell, funding="test")
    await count(world, 1_000, spell, dimension="account_spell")
    await count(world, 10_000, spell, NOVEMBER, period="month")
    assert await parts(world, pool, NOVEMBER, TENTH, by_day=False, by_spell=True) == [(0, "wordcount", 77, 420, 3)]
    assert await parts(world, pool, NOVEMBER, TENTH, by_day=False, by_spell=False) == [(0, "", 77, 420, 3)]


async def test_parts_come_by_day_then_most_earned_then_most_cast(world: World, neighbour: World, pool: Pool) -> None:
    await world.rows("UPDATE spells SET name = 'foreign' WHERE id = %s", neighbour.spell_id)
    spells = await add_spells(world, *(f"s{number}" for number in range(8)))
    for number, spell_id in enumerate(spells):
        await count(world, 5 + (number == 2), spell_id)
    for number, micros in ((3, 10), (6, 900), (1, 40)):
        await share(world, micros, spells[number])
    await refund(world, 4, spells[6])
    for days in (-2, -1):
        await share(world, 70, spells[7], at=NOON + timedelta(days=days))
    asked = {"first": TENTH - timedelta(days=2), "last": TENTH}
    today = [
        (6, 5, 900, 4),
        (1, 5, 40, 0),
        (3, 5, 10, 0),
        (2, 6, 0, 0),
        *((number, 5, 0, 0) for number in (0, 4, 5, 7)),
    ]
    expected = [
        (8, "s7", 0, 70, 0), (9, "s7", 0, 70, 0),
        *((10, f"s{number}", *rest) for number, *rest in today),
    ]  # fmt: skip
    assert await parts(world, pool, **asked, by_day=True, by_spell=True) == expected
    assert await parts(world, pool, **asked, by_day=True, by_spell=True, limit=4) == expected[:4]
    by_spell = await parts(world, pool, **asked, by_day=False, by_spell=True)
    assert [row[1] for row in by_spell] == ["s6", "s7", "s1", "s3", "s2", "s0", "s4", "s5"]


async def test_a_spell_is_named_with_its_own_creator(world: World, neighbour: World, pool: Pool) -> None:
    await share(world, 10)
    async with transaction(pool) as connection:
        (found,) = await earned.parts_read(
            connection, account_id=world.creator_id, first=TENTH, last=TENTH, by_day=False, by_spell=True, limit=9
        )
    ((handle,),) = await world.rows("SELECT handle FROM accounts WHERE id = %s", world.creator_id)
    assert (found.spell, found.spell_id, found.day) == (f"{handle}/wordcount", world.spell_id, None)
    assert neighbour.creator_id != world.creator_id
