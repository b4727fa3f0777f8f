"""The sums behind /v1/usage, from casts that went through admission and the gate."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from domain.flow.settle import settle
from domain.model.ids import instant_ms_of
from domain.model.messages import Outcome
from domain.model.periods import month_of
from domain.model.usage import Tally, months_until
from domain.store import usage
from domain.store.connection import Pool, Role, account_transaction, open_pool, statement, transaction
from domain.store.principals import origins_allowed
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.world import TOKEN_KEY, World


async def test_every_way_to_add_up_a_month_gives_the_same_sum(world: World, pool: Pool) -> None:
    jobs = await accept(world, pool, *[world.spec()] * 5)
    outcomes = [Outcome.SUCCEEDED] * 3 + [Outcome.TRAP]
    async with transaction(pool) as connection:
        events = [event_of(job, outcome) for job, outcome in zip(jobs[:4], outcomes, strict=True)]
        await settle(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)
    ((charged,),) = await world.rows(
        "SELECT sum(amount_micros)::bigint FROM ledger_transfers WHERE account_id = %s", world.account_id
    )
    month = month_of(datetime.fromtimestamp(instant_ms_of(jobs[0].cast_id) / 1000, UTC))
    first, before = months_until(month, 6)[0], months_until(month, 2)[0]
    async with transaction(pool) as connection:
        ours = {"account_id": world.account_id}
        (whole,) = await usage.months_read(connection, **ours, first=first, last=month)
        assert (whole.month, whole.tally.casts, whole.tally.failed) == (month, 4, 1)
        assert whole.tally.cost_micros == charged > 0
        days = await usage.days_read(connection, **ours, month=month)
        assert sum(days.values(), start=Tally()) == whole.tally
        (key,) = await usage.keys_read(connection, **ours, month=month)
        assert (key.id, key.label, key.tally) == (world.key_id, "test", whole.tally)
        (spell,) = await usage.spells_read(connection, **ours, month=month, limit=10)
        assert (spell.id, spell.tally) == (world.spell_id, whole.tally)
        assert await usage.spells_read(connection, **ours, month=month, limit=0) == []
        listed = await usage.events_read(connection, **ours, month=month, after=None, limit=10)
        assert [event.id for event in listed] == [job.cast_id for job in jobs[:4]]
        assert sum(event.cost_micros for event in listed) == charged
        rest = await usage.events_read(connection, **ours, month=month, after=listed[1].id, limit=1)
        assert rest == listed[2:3]
        allowance = await usage.allowance_read(connection, **ours, month=month)
        assert (allowance.spent_micros, allowance.held_micros > 0) == (charged, True)  # one cast is still open
        for read in (usage.days_read, usage.keys_read):
            assert len(await read(connection, **ours, month=before)) == 0
        assert await usage.events_read(connection, **ours, month=before, after=None, limit=10) == []
        assert await usage.allowance_read(connection, **ours, month=before) == usage.Allowance()
        assert await usage.months_read(connection, account_id=world.creator_id, first=first, last=month) == []


USED = (
    "SELECT account_id, dimension, subject_id, period, starts_on::text, funding, sum(casts)::int, sum(failed)::int,"
    " sum(fuel)::int, sum(cpu_us)::int, sum(cost_micros)::int FROM {} GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5"
)


async def test_what_is_not_counted_yet_is_in_every_sum_and_counted_once(world: World, pool: Pool) -> None:
    jobs = await accept(world, pool, *[world.spec()] * 4)
    await world.rows("UPDATE casts SET key_id = NULL WHERE id = %s", jobs[0].cast_id)
    for job, outcome in zip(jobs, (Outcome.SUCCEEDED, Outcome.TRAP, Outcome.SUCCEEDED, Outcome.SUCCEEDED), strict=True):
        async with transaction(pool) as connection:
            await settle(connection, [event_of(job, outcome)], batch_id=uuid4(), token_key=TOKEN_KEY)
    uncounted = await world.rows(USED.format("usage_days"))
    assert [(row[1], row[6], row[7]) for row in uncounted if row[0] == world.account_id] == [
        ("account", 4, 1),
        ("account_spell", 4, 1),
        ("key", 3, 1),
    ]
    counted = []
    for _ in range(3):
        async with statement(pool) as connection:
            counted.append(await usage.count(connection))
    assert counted == [4, 0, 0]
    assert await world.rows(USED.format("usage_days")) == uncounted
    assert await world.rows(USED.format("usage_counters")) == uncounted


async def test_an_account_sees_its_own_of_what_is_not_counted_yet(world: World, pool: Pool, database_url: str) -> None:
    (job,) = await accept(world, pool)
    async with transaction(pool) as connection:
        await settle(connection, [event_of(job)], batch_id=uuid4(), token_key=TOKEN_KEY)
    looked = b"SELECT DISTINCT account_id FROM usage_uncounted_days"
    async with open_pool(database_url, role=Role.APP, size_max=1) as app:
        for account_id, found in ((world.account_id, [(world.account_id,)]), (world.creator_id, [])):
            async with account_transaction(app, account_id) as connection:
                assert await (await connection.execute(looked)).fetchall() == found
        async with transaction(app) as connection:
            assert await (await connection.execute(looked)).fetchall() == []


async def test_two_who_count_at_once_count_other_batches(
    world: World, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "COUNTED_BATCHES_MAX", 1)
    for job in await accept(world, pool, *[world.spec()] * 2):
        async with transaction(pool) as connection:
            await settle(connection, [event_of(job)], batch_id=uuid4(), token_key=TOKEN_KEY)
    async with transaction(pool) as slow:
        taken = b"SELECT ctid FROM usage_uncounted LIMIT 1 FOR UPDATE"
        await slow.execute(taken)
        async with statement(pool) as connection:
            assert [await usage.count(connection) for _ in range(2)] == [1, 0]
    async with statement(pool) as connection:
        assert await usage.count(connection) == 1
    assert await broken(world.database_url) == {}


async def test_origins_are_those_of_living_keys(world: World, pool: Pool) -> None:
    for name in ("living", "revoked"):
        await world.rows(
            "INSERT INTO api_keys (id, account_id, prefix, secret_hash, name, allowed_origins)"
            " VALUES (gen_random_uuid(), %s, %s, 'x', 'x', %s)",
            world.account_id,
            name,
            [f"https://{name}.example.com", "https://both.example.com"],
        )
    await world.rows("UPDATE api_keys SET revoked_at = now() WHERE prefix = 'revoked'")
    asked = [f"https://{name}.example.com" for name in ("living", "revoked", "both", "nobody")]
    async with transaction(pool) as connection:
        found = await origins_allowed(connection, origins=asked)
    assert found == {"https://living.example.com", "https://both.example.com"}
