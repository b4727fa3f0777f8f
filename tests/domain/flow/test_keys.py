import asyncio
import os
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from domain.flow.create_budget import NewBudget
from domain.flow.create_key import CreatedKey, NewKey, create_key
from domain.flow.creation import IdempotentCall
from domain.flow.revoke_key import revoke_key
from domain.model.admission import Accepted, Judged
from domain.model.api_key import ENTROPY_BYTES, mint, prefix_of
from domain.model.audit import OPERATOR
from domain.model.errors import Code, Refusal, RefusedError
from domain.model.key_rules import KEYS_PER_ACCOUNT_MAX, KeyScope, KeyTerms
from domain.model.periods import Period
from domain.store import admission, identity
from domain.store.connection import Pool, Role, account_transaction, open_pool, transaction
from tests.domain.world import World, admit, make_world

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PLAIN = KeyTerms(scopes=frozenset(), rate_limit_rpm=None, open_casts_max=None, expires_at=None)


def asked(world: World, terms: KeyTerms = PLAIN, **changes: object) -> NewKey:
    fields = {
        "id": uuid4(),
        "account_id": world.account_id,
        "made_by": None,
        "prefix": mint(os.urandom(ENTROPY_BYTES)).prefix,
        "secret_hash": "hash",
        "name": "ci",
        "terms": terms,
    }
    return NewKey(**{**fields, **changes})


async def create(pool: Pool, new: NewKey, call: IdempotentCall | None = None) -> CreatedKey:
    async with transaction(pool) as connection:
        return await create_key(connection, new, call=call, now=NOW, actor=OPERATOR)


async def revoke(pool: Pool, world: World, prefix: str) -> None:
    async with transaction(pool) as connection:
        await revoke_key(connection, account_id=world.account_id, prefix=prefix, actor=OPERATOR)


async def test_a_key_is_made_once_and_reads_back(world: World, pool: Pool) -> None:
    terms = KeyTerms(
        scopes=frozenset({KeyScope.KEYS_WRITE}),
        rate_limit_rpm=120,
        open_casts_max=5,
        expires_at=NOW + timedelta(days=1),
    )
    new = asked(world, terms)
    first, again = await create(pool, new), await create(pool, new)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.key == first.key
    assert (first.key.scopes, first.key.rate_limit_rpm, first.key.open_casts_max) == (["keys:write"], 120, 5)
    assert await world.rows("SELECT secret_hash FROM api_keys WHERE id = %s", new.id) == [("hash",)]


async def test_the_same_idempotent_call_at_once_makes_one_key(world: World, pool: Pool) -> None:
    call = IdempotentCall(key="k", request_hash=b"h" * 32)
    results = await asyncio.gather(*(create(pool, asked(world), call) for _ in range(5)))
    assert sorted(result.replayed for result in results) == [False, True, True, True, True]
    assert len({result.key.id for result in results}) == 1
    assert await world.rows("SELECT count(*) FROM api_keys WHERE name = 'ci'") == [(1,)]
    with pytest.raises(RefusedError) as caught:
        await create(pool, asked(world), IdempotentCall(key="k", request_hash=b"x" * 32))
    assert caught.value.refusal.code is Code.IDEMPOTENCY_KEY_REUSED


async def test_a_revoked_key_casts_nothing_from_the_commit_on(world: World, pool: Pool) -> None:
    (prefix,) = (await world.rows("SELECT prefix FROM api_keys WHERE id = %s", world.key_id))[0]
    casting, revoked = asyncio.Event(), asyncio.Event()
    late: list[object] = []

    async def cast_until_refused() -> None:
        while not (late and revoked.is_set()):
            knew = revoked.is_set()
            (verdict,) = await admit(pool, world.request())
            casting.set()
            if knew:
                late.append(verdict)

    async def revoke_it() -> None:
        await casting.wait()
        await revoke(pool, world, prefix)
        revoked.set()

    await asyncio.gather(cast_until_refused(), cast_until_refused(), revoke_it())
    assert late
    assert all(isinstance(verdict, Refusal) and verdict.code is Code.UNAUTHORIZED for verdict in late)


async def test_revoking_waits_for_a_batch_that_has_read_and_not_yet_written(world: World, pool: Pool) -> None:
    """Between its reading and its writing a batch holds nothing but the lock of the account."""
    ((prefix,),) = await world.rows("SELECT prefix FROM api_keys WHERE id = %s", world.key_id)

    async def revoke_patiently() -> None:
        async with transaction(pool) as connection:
            await connection.execute(b"SET LOCAL lock_timeout = 0")
            await revoke_key(connection, account_id=world.account_id, prefix=prefix, actor=OPERATOR)

    async with transaction(pool) as batch:
        _, state = await admission.lock_and_read(
            batch,
            account_ids=[world.account_id],
            key_ids=[world.key_id],
            idempotency=[],
            billing_enabled=False,
            skip_locked=False,
        )
        assert [key.alive for key in state.keys] == [True]
        revoking = asyncio.create_task(revoke_patiently())
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        async with asyncio.timeout(30):
            while await world.rows(waiting) == [(0,)]:
                assert not revoking.done()
    await revoking


async def test_revoking_twice_keeps_the_first_time_and_strangers_find_nothing(world: World, pool: Pool) -> None:
    created = await create(pool, asked(world))
    revoked_at = "SELECT revoked_at FROM api_keys WHERE id = %s"
    await revoke(pool, world, created.key.prefix)
    first = await world.rows(revoked_at, created.key.id)
    await revoke(pool, world, created.key.prefix)
    assert await world.rows(revoked_at, created.key.id) == first != [(None,)]
    stranger = await make_world(world.database_url)
    with pytest.raises(RefusedError) as caught:
        await revoke(pool, stranger, created.key.prefix)
    assert caught.value.refusal.code is Code.NOT_FOUND


async def test_a_key_made_by_a_key_has_no_more_than_its_maker(world: World, pool: Pool) -> None:
    tomorrow = NOW + timedelta(days=1)
    maker = await create(
        pool,
        asked(
            world,
            KeyTerms(scopes=frozenset({KeyScope.KEYS_WRITE}), rate_limit_rpm=60, open_casts_max=2, expires_at=tomorrow),
        ),
    )
    greedy = KeyTerms(
        scopes=frozenset(), rate_limit_rpm=1_000, open_casts_max=None, expires_at=tomorrow + timedelta(days=9)
    )
    child = (await create(pool, asked(world, greedy, made_by=maker.key.id))).key
    assert (child.rate_limit_rpm, child.open_casts_max, child.expires_at) == (60, 2, tomorrow)
    assert child.made_by_key == maker.key.id
    with pytest.raises(RefusedError) as caught:
        await create(
            pool,
            asked(
                world,
                KeyTerms(
                    scopes=frozenset({KeyScope.BUDGETS_WRITE}),
                    rate_limit_rpm=None,
                    open_casts_max=None,
                    expires_at=None,
                ),
                made_by=maker.key.id,
            ),
        )
    assert caught.value.refusal.code is Code.FORBIDDEN


async def test_a_key_with_a_budget_or_without_life_makes_no_key(world: World, pool: Pool) -> None:
    limited = asked(world)
    budget = NewBudget(
        id=uuid4(),
        account_id=world.account_id,
        scope="key",
        scope_id=limited.id,
        period=Period.DAILY,
        soft_limit_micros=None,
        hard_limit_micros=1,
    )
    await create(pool, asked(world, id=limited.id, budget=budget))
    dead = await create(pool, asked(world))
    await revoke(pool, world, dead.key.prefix)
    for maker, code in ((limited.id, Code.FORBIDDEN), (dead.key.id, Code.UNAUTHORIZED)):
        with pytest.raises(RefusedError) as caught:
            await create(pool, asked(world, made_by=maker))
        assert caught.value.refusal.code is code


async def test_a_key_can_come_with_its_budget_and_both_or_none_are_made(world: World, pool: Pool) -> None:
    new = asked(world)
    budget = NewBudget(
        id=uuid4(),
        account_id=world.account_id,
        scope="key",
        scope_id=new.id,
        period=Period.MONTHLY,
        soft_limit_micros=None,
        hard_limit_micros=0,
    )
    await create(pool, asked(world, id=new.id, budget=budget))
    (verdict,) = await admit(pool, _request_of(world, new))
    assert isinstance(verdict, Judged)
    (refusal,) = verdict.results
    assert not isinstance(refusal, Accepted)
    assert refusal.code is Code.BUDGET_EXCEEDED
    with pytest.raises(RefusedError):
        await create(pool, asked(world, id=uuid4(), budget=budget))
    assert await world.rows("SELECT count(*) FROM api_keys WHERE name = 'ci'") == [(1,)]


def _request_of(world: World, key: NewKey):  # noqa: ANN202  # an AdmissionRequest
    request = world.request()
    return type(request)(account_id=world.account_id, key_id=key.id, casts=request.casts)


async def test_terms_that_make_no_sense_are_refused(world: World, pool: Pool) -> None:
    for terms in (
        KeyTerms(scopes=frozenset({"root"}), rate_limit_rpm=None, open_casts_max=None, expires_at=None),
        KeyTerms(scopes=frozenset(), rate_limit_rpm=None, open_casts_max=None, expires_at=NOW),
    ):
        with pytest.raises(RefusedError) as caught:
            await create(pool, asked(world, terms))
        assert caught.value.refusal.code is Code.VALIDATION
        assert caught.value.refusal.faults


async def test_an_account_has_a_bounded_number_of_keys(world: World, pool: Pool) -> None:
    await world.rows(
        "INSERT INTO api_keys (id, account_id, prefix, secret_hash, name)"
        " SELECT gen_random_uuid(), %s, 'p' || n, 'x', 'many' FROM generate_series(2, %s) n",
        world.account_id,
        KEYS_PER_ACCOUNT_MAX,
    )
    with pytest.raises(RefusedError) as caught:
        await create(pool, asked(world))
    assert caught.value.refusal.code is Code.CONFLICT


async def test_the_apps_role_lists_one_accounts_living_keys_in_pages(world: World, pool: Pool) -> None:
    made = [(await create(pool, asked(world))).key for _ in range(3)]
    await revoke(pool, world, made[0].prefix)
    await make_world(world.database_url)
    async with (
        open_pool(world.database_url, role=Role.APP, size_max=1) as app,
        account_transaction(app, world.account_id) as connection,
    ):
        everything = await identity.keys_list(connection, account_id=world.account_id, before=None, limit=100)
        assert {key.id for key in everything} == {world.key_id, made[1].id, made[2].id}
        first = await identity.keys_list(connection, account_id=world.account_id, before=None, limit=2)
        rest = await identity.keys_list(
            connection, account_id=world.account_id, before=(first[-1].created_at, first[-1].id), limit=2
        )
        assert [*first, *rest] == everything


def test_a_key_is_told_from_a_typo_without_a_database() -> None:
    minted = mint(bytes(range(ENTROPY_BYTES)))
    assert prefix_of(minted.text) == minted.prefix
    assert minted.text.startswith(f"{minted.prefix}_")
    assert minted.text not in repr(minted)
    for position in range(len(minted.text)):
        wrong = minted.text[:position] + ("a" if minted.text[position] != "a" else "b") + minted.text[position + 1 :]
        assert prefix_of(wrong) is None
    for text in ("", "sk_live_", minted.text[:-1], minted.text + "0", minted.text.replace("sk_live", "sk_test")):
        assert prefix_of(text) is None
    assert prefix_of("é" * len(minted.text)) is None


async def test_an_idempotency_key_of_something_else_makes_no_key(world: World, pool: Pool) -> None:
    await world.rows(
        "INSERT INTO idempotency_keys (account_id, key, request_hash, cast_ids, created_at)"
        " VALUES (%s, 'k', %s, %s, now())",
        world.account_id,
        b"h" * 32,
        [uuid4()],
    )
    with pytest.raises(RefusedError) as caught:
        await create(pool, asked(world), IdempotentCall(key="k", request_hash=b"h" * 32))
    assert caught.value.refusal.code is Code.IDEMPOTENCY_KEY_REUSED


async def test_a_key_is_found_by_its_public_part_in_its_account_alone(world: World, pool: Pool) -> None:
    made = (await create(pool, asked(world))).key
    async with transaction(pool) as connection:
        assert await identity.key_by_prefix(connection, account_id=world.account_id, prefix=made.prefix) == made
        assert await identity.key_by_prefix(connection, account_id=world.creator_id, prefix=made.prefix) is None
