"""The sums behind /v1/usage, from casts that went through admission and the gate."""

from datetime import UTC, datetime
from uuid import uuid4

from domain.flow.settle import settle
from domain.model.ids import instant_ms_of
from domain.model.messages import Outcome
from domain.model.periods import month_of
from domain.model.usage import Tally, months_until
from domain.store import usage
from domain.store.connection import Pool, transaction
from domain.store.principals import origins_allowed
from tests.domain.admitted import accept
from tests.domain.events import event_of
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
