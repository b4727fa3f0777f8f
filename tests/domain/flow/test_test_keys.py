"""Casts of test keys from admission to settlement: they run for real, and no book moves."""

import asyncio
from uuid import UUID, uuid4

import psycopg
import pytest

from domain.flow.cancel import cancel
from domain.flow.reconcile import reconcile
from domain.flow.settle import settle
from domain.model.admission import Accepted, AdmissionRequest, CastSpec, Judged, Replayed
from domain.model.errors import Code, Refusal
from domain.model.funding import Funding
from domain.model.jobs import job_of
from domain.model.messages import CastJob, Outcome
from domain.model.modes import TEST_CASTS_PER_MONTH_MAX, Mode
from domain.model.periods import month_of
from domain.store import casts, usage
from domain.store.connection import Pool, Role, account_transaction, open_pool, snapshot, transaction
from domain.store.identity import instant_read
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.world import TERMS, TOKEN_KEY, World, admit


async def add_test_key(world: World) -> UUID:
    key_id = uuid4()
    await world.rows(
        "INSERT INTO api_keys (id, account_id, prefix, secret_hash, name, open_casts_max)"
        " VALUES (%s, %s, %s, 'x', 'tests', 100000)",
        key_id,
        world.account_id,
        f"sk_test_{key_id.hex[:8]}",
    )
    return key_id


def asked(world: World, key_id: UUID, *specs: CastSpec, key: str | None = None) -> AdmissionRequest:
    return AdmissionRequest(
        account_id=world.account_id,
        key_id=key_id,
        casts=specs or (world.spec(),),
        idempotency_key=key,
        request_hash=b"h" * 32,
    )


async def accept_test(world: World, pool: Pool, key_id: UUID, *specs: CastSpec) -> list[CastJob]:
    (verdict,) = await admit(pool, asked(world, key_id, *specs))
    assert isinstance(verdict, Judged)
    accepted = [result for result in verdict.results if isinstance(result, Accepted)]
    assert [one.funding for one in accepted] == [Funding.TEST] * len(verdict.results)
    return [job_of(one, TOKEN_KEY) for one in accepted]


async def books(world: World) -> list[tuple]:
    """Return everything that says how much money there is."""
    return await world.rows(
        "SELECT (SELECT coalesce(json_agg(w ORDER BY w.id)::text, '') FROM budget_windows w),"
        " (SELECT coalesce(json_agg(g ORDER BY g.id)::text, '') FROM credit_grants g),"
        " (SELECT coalesce(json_agg(t ORDER BY t.id)::text, '') FROM ledger_transfers t),"
        " (SELECT coalesce(sum(spent_micros + held_micros + free_used + free_held), 0) FROM account_months)"
    )


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.TRAP, Outcome.PLATFORM_ERROR])
async def test_a_test_cast_moves_no_money_whatever_becomes_of_it(world: World, pool: Pool, outcome: Outcome) -> None:
    """A live cast before and after it, so that there is a window, a month and a ledger to be moved."""
    await world.add_budget(1_000_000)
    (live,) = await accept(world, pool)
    async with transaction(pool) as connection:
        await settle(connection, [event_of(live)], batch_id=uuid4(), token_key=TOKEN_KEY)
    key_id = await add_test_key(world)
    before = await books(world)
    (job,) = await accept_test(world, pool, key_id)
    assert await books(world) == before, "accepted"
    event = event_of(job, outcome)
    for _ in range(2):  # twice: the second time it is a stray
        async with transaction(pool) as connection:
            await settle(connection, [event], batch_id=uuid4(), token_key=TOKEN_KEY)
    assert await books(world) == before, "settled"
    ((status, held, cost, funding),) = await world.rows(
        "SELECT status, held_micros, cost_micros, funding FROM casts WHERE id = %s", job.cast_id
    )
    assert (status in {"succeeded", "failed"}, held, cost, funding) == (True, 0, 0, "test")
    assert await world.rows("SELECT cost_micros, funding FROM usage_events WHERE id = %s", job.cast_id) == [(0, "test")]
    assert await broken(world.database_url) == {}
    async with snapshot(pool) as connection:
        assert (await reconcile(connection, now=await instant_read(connection))).balanced


async def test_a_canceled_test_cast_frees_its_place(world: World, pool: Pool) -> None:
    key_id = await add_test_key(world)
    (job,) = await accept_test(world, pool, key_id)
    for _ in range(2):
        async with transaction(pool) as connection:
            await cancel(connection, world.account_id, [job.cast_id], batch_id=uuid4(), token_key=TOKEN_KEY)
    assert await world.rows("SELECT open_casts FROM accounts WHERE id = %s", world.account_id) == [(0,)]
    assert await world.rows("SELECT open_casts FROM api_keys WHERE id = %s", key_id) == [(0,)]
    # How it ended gives no test cast back: who starts and cancels without end uses the platform as well.
    assert await world.rows("SELECT test_casts FROM account_months") == [(1,)]
    assert await broken(world.database_url) == {}


async def test_sixty_requests_at_once_never_pass_the_months_bound(world: World, pool: Pool) -> None:
    key_id = await add_test_key(world)
    async with transaction(pool) as connection:
        month = month_of(await instant_read(connection))
    await world.rows(
        "INSERT INTO account_months (account_id, month, test_casts) VALUES (%s, %s, %s)",
        world.account_id,
        month,
        TEST_CASTS_PER_MONTH_MAX - 10,
    )
    verdicts = await asyncio.gather(*(admit(pool, asked(world, key_id)) for _ in range(60)))
    results = [result for (verdict,) in verdicts if isinstance(verdict, Judged) for result in verdict.results]
    refused = [result.code for result in results if isinstance(result, Refusal)]
    assert refused == [Code.TEST_ALLOWANCE_EXHAUSTED] * 50
    used = await world.rows("SELECT test_casts FROM account_months WHERE account_id = %s", world.account_id)
    assert used == [(TEST_CASTS_PER_MONTH_MAX,)]
    # And a live cast of the same account is none of them.
    assert await accept(world, pool)


async def test_one_idempotency_key_makes_one_cast_in_each_mode(world: World, pool: Pool) -> None:
    key_id = await add_test_key(world)
    ids: dict[Funding, set[UUID]] = {Funding.TEST: set(), Funding.METERED: set()}
    for _ in range(2):
        for request in (asked(world, key_id, key="k"), world.request(key="k", body=b"another")):
            (verdict,) = await admit(pool, request)
            if isinstance(verdict, Judged):
                one = verdict.results[0]
                assert isinstance(one, Accepted)
                ids[one.funding].add(one.cast_id)
            else:
                assert isinstance(verdict, Replayed)
                funding = Funding.TEST if request.key_id == key_id else Funding.METERED
                assert set(verdict.cast_ids) == ids[funding]
    assert [len(made) for made in ids.values()] == [1, 1]


async def test_lists_and_sums_hold_one_mode_alone(world: World, pool: Pool) -> None:
    key_id = await add_test_key(world)
    tested = await accept_test(world, pool, key_id, world.spec(), world.spec())
    (live,) = await accept(world, pool)
    async with transaction(pool) as connection:
        events = [event_of(job) for job in (*tested, live)]
        await settle(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)
        month = month_of(await instant_read(connection))
    wanted = {Mode.LIVE: {live.cast_id}, Mode.TEST: {job.cast_id for job in tested}}
    for mode, expected in wanted.items():
        async with (
            open_pool(world.database_url, role=Role.APP, size_max=1) as app_pool,
            account_transaction(app_pool, world.account_id) as connection,
        ):
            page = await casts.casts_list(
                connection,
                account_id=world.account_id,
                status=None,
                spell_id=None,
                key_id=None,
                mode=mode,
                before=casts.LAST_ID,
                after=casts.FIRST_ID,
                limit=10,
            )
        assert {row.id for row in page} == expected
        assert {row.mode for row in page} == {mode}
        async with transaction(pool) as connection:
            whose = {"account_id": world.account_id, "month": month, "mode": mode}
            months = await usage.months_read(
                connection, account_id=world.account_id, first=month, last=month, mode=mode
            )
            days = await usage.days_read(connection, **whose)
            keys = await usage.keys_read(connection, **whose)
            spells = await usage.spells_read(connection, **whose, limit=9)
            events = await usage.events_read(connection, **whose, after=None, limit=9)
        sums = [months[0].tally, *days.values(), keys[0].tally, spells[0].tally]
        assert [tally.casts for tally in sums] == [len(expected)] * 4
        assert {tally.cost_micros > 0 for tally in sums} == {mode is Mode.LIVE}
        assert (len(months), len(days), len(keys), len(spells)) == (1, 1, 1, 1)
        assert {event.id for event in events} == expected


async def test_a_mistake_that_charges_a_test_cast_is_refused_by_the_database(world: World, pool: Pool) -> None:
    (job,) = await accept_test(world, pool, await add_test_key(world))
    (live,) = await accept(world, pool)
    for charge in (
        "UPDATE casts SET held_micros = 5 WHERE id = %s",
        "UPDATE casts SET creator_price_micros = 5 WHERE id = %s",
        "UPDATE casts SET window_ids = ARRAY[gen_random_uuid()] WHERE id = %s",
    ):
        with pytest.raises(psycopg.errors.CheckViolation):
            await world.rows(charge, job.cast_id)
    with pytest.raises(psycopg.errors.CheckViolation):
        await world.rows("UPDATE casts SET funding = 'test' WHERE id = %s", live.cast_id)


async def test_terms_of_the_world_are_such_that_a_live_cast_would_pay(world: World, pool: Pool) -> None:
    """What the tests above rest on."""
    assert TERMS.free_casts_per_month == 0
    (live,) = await accept(world, pool)
    assert await world.rows("SELECT held_micros > 0, funding FROM casts WHERE id = %s", live.cast_id) == [
        (True, "metered")
    ]
