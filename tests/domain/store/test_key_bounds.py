"""Of which keys open casts are counted, and what a change of a key touches (`make mutants`)."""

from uuid import uuid4

from domain.flow.settle import settle
from domain.model.key_rules import KeyTerms
from domain.store import identity
from domain.store.connection import Pool, transaction
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.world import TOKEN_KEY, World

OPEN = "SELECT open_casts FROM api_keys WHERE id = %s"
BOUND = KeyTerms(scopes=frozenset(), rate_limit_rpm=None, open_casts_max=9, expires_at=None)


async def test_open_casts_are_counted_of_a_key_with_a_bound_alone(world: World, pool: Pool) -> None:
    await world.rows("UPDATE api_keys SET open_casts_max = NULL WHERE id = %s", world.key_id)
    (job,) = await accept(world, pool)
    assert await world.rows(OPEN, world.key_id) == [(0,)]
    async with transaction(pool) as connection:
        await settle(connection, [event_of(job)], batch_id=uuid4(), token_key=TOKEN_KEY)
    assert await world.rows(OPEN, world.key_id) == [(0,)]


async def test_a_bound_counts_what_waits_and_runs_of_this_key_alone(world: World, pool: Pool) -> None:
    waiting, running, ended, others = await accept(world, pool, *[world.spec()] * 4)
    assert waiting.cast_id != running.cast_id
    await world.rows("UPDATE casts SET status = 'running' WHERE id = %s", running.cast_id)
    await world.rows("UPDATE casts SET key_id = NULL WHERE id = %s", others.cast_id)
    async with transaction(pool) as connection:
        await settle(connection, [event_of(ended)], batch_id=uuid4(), token_key=TOKEN_KEY)
        key = {"account_id": world.account_id, "key_id": world.key_id}
        assert await identity.key_update(connection, **key, name="new", terms=BOUND)
    assert await world.rows(OPEN, world.key_id) == [(2,)]


async def test_a_change_is_of_living_keys_of_the_account_alone(world: World, neighbour: World, pool: Pool) -> None:
    async with transaction(pool) as connection:
        key = {"key_id": world.key_id, "name": "new", "terms": BOUND}
        assert not await identity.key_update(connection, account_id=neighbour.account_id, **key)
        await connection.execute(b"UPDATE api_keys SET revoked_at = now()")
        assert not await identity.key_update(connection, account_id=world.account_id, **key)
