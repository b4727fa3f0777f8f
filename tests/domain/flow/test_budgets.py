import asyncio
from datetime import UTC, datetime
from functools import partial
from uuid import UUID, uuid4

import msgspec
import pytest
from psycopg import sql

from domain.flow.create_budget import CreatedBudget, NewBudget, create_budget
from domain.flow.creation import IdempotentCall
from domain.flow.delete_budget import delete_budget
from domain.flow.settle import settle
from domain.flow.update_budget import update_budget
from domain.model.admission import Accepted, Judged
from domain.model.audit import OPERATOR
from domain.model.budgets import (
    BUDGETS_PER_ACCOUNT_MAX,
    Budget,
    BudgetTerms,
    Scope,
    cents_of_limit,
    current_cents,
    micros_of_cents,
    window_id,
)
from domain.model.errors import Code, Refusal, RefusedError
from domain.model.jobs import job_of
from domain.model.messages import CastJob, Outcome, UsageEvent
from domain.model.periods import Period, starts_on
from domain.store import budgets
from domain.store.connection import Pool, Role, account_transaction, open_pool, transaction
from tests.domain.invariants import broken
from tests.domain.patience import again
from tests.domain.world import HOLD, TOKEN_KEY, World, admit, make_world

COST = 1_002  # of a cast that used 10^6 fuel


def asked(
    world: World,
    hard: int | None = 100_000,
    *,
    scope: Scope = "account",
    scope_id: UUID | None = None,
    period: Period = Period.MONTHLY,
    soft: int | None = None,
) -> NewBudget:
    return NewBudget(
        id=uuid4(),
        account_id=world.account_id,
        scope=scope,
        scope_id=scope_id or world.account_id,
        period=period,
        soft_limit_micros=soft,
        hard_limit_micros=hard,
    )


async def create(pool: Pool, new: NewBudget, call: IdempotentCall | None = None) -> CreatedBudget:
    async with transaction(pool) as connection:
        return await create_budget(connection, new, call=call, actor=OPERATOR)


async def accept(world: World, pool: Pool) -> CastJob:
    (verdict,) = await admit(pool, world.request())
    assert isinstance(verdict, Judged)
    (accepted,) = verdict.results
    assert isinstance(accepted, Accepted)
    return job_of(accepted, TOKEN_KEY)


async def finish(pool: Pool, *jobs: CastJob) -> None:
    events = [
        UsageEvent(
            cast_id=job.cast_id,
            token=job.token,
            outcome=Outcome.SUCCEEDED,
            exit_code=0,
            fuel=10**6,
            cpu_us=200,
            wall_us=300,
            started_ms=job.accepted_ms,
            finished_ms=job.accepted_ms + 1,
            output=b"{}",
        )
        for job in jobs
    ]
    async with transaction(pool) as connection:
        settled = await settle(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)
    assert len(settled.endings) == len(jobs)


def terms(hard: int | None, *, soft: int | None = None, notify: bool = True) -> BudgetTerms:
    return BudgetTerms(soft_limit_micros=soft, hard_limit_micros=hard, notify=notify)


async def change(pool: Pool, world: World, budget_id: UUID, to: BudgetTerms, *, may_raise: bool = True) -> Budget:
    async with transaction(pool) as connection:
        return await update_budget(
            connection, account_id=world.account_id, budget_id=budget_id, terms=to, may_raise=may_raise, actor=OPERATOR
        )


async def drop(pool: Pool, world: World, budget_id: UUID, *, may_raise: bool = True) -> None:
    async with transaction(pool) as connection:
        await delete_budget(
            connection, account_id=world.account_id, budget_id=budget_id, may_raise=may_raise, actor=OPERATOR
        )


def code_of(caught: pytest.ExceptionInfo[RefusedError]) -> Code:
    return caught.value.refusal.code


async def test_a_new_budget_starts_at_what_is_spent_and_open(world: World, pool: Pool) -> None:
    done, open_job = await accept(world, pool), await accept(world, pool)
    await finish(pool, done)
    for scope, scope_id in (("account", world.account_id), ("key", world.key_id), ("spell", world.spell_id)):
        for period in Period:
            new = asked(world, scope=scope, scope_id=scope_id, period=period)
            created = await create(pool, new)
            assert (created.budget.spent_micros, created.budget.held_micros) == (COST, HOLD)
            assert await world.window(new.id, period) == (COST, HOLD)
    assert await broken(world.database_url) == {}
    await finish(pool, open_job)
    assert await broken(world.database_url) == {}
    assert await world.rows("SELECT DISTINCT spent_micros, held_micros FROM budget_windows") == [(2 * COST, 0)]


async def test_a_budget_of_another_key_or_spell_adopts_nothing(world: World, pool: Pool) -> None:
    await accept(world, pool)
    other = uuid4()
    await world.rows(
        "INSERT INTO api_keys (id, account_id, prefix, secret_hash, name) VALUES (%s, %s, 'sk_live_other', 'x', 'o')",
        other,
        world.account_id,
    )
    created = await create(pool, asked(world, scope="key", scope_id=other))
    assert (created.budget.spent_micros, created.budget.held_micros) == (0, 0)
    stranger = await make_world(world.database_url)
    created = await create(pool, asked(stranger))
    assert created.budget.held_micros == 0
    assert await broken(world.database_url) == {}


async def test_a_cast_of_last_month_is_no_part_of_this_months_window(world: World, pool: Pool) -> None:
    job = await accept(world, pool)
    last_month = UUID(int=job.cast_id.int - (40 * 86_400_000 << 80))
    await world.rows("SELECT partitions_ensure((now() - interval '3 months')::date, 4)")
    await world.rows(
        "UPDATE casts SET id = %s, accepted_at = accepted_at - interval '40 days' WHERE id = %s",
        last_month,
        job.cast_id,
    )
    created = await create(pool, asked(world))
    assert created.budget.held_micros == 0
    assert await world.rows("SELECT window_ids FROM casts") == [([],)]


async def test_a_full_budget_made_now_refuses_the_next_cast(world: World, pool: Pool) -> None:
    await accept(world, pool)
    new = asked(world, 2 * HOLD - 1)
    await create(pool, new)
    (verdict,) = await admit(pool, world.request())
    assert isinstance(verdict, Judged)
    (refusal,) = verdict.results
    assert isinstance(refusal, Refusal)
    assert refusal.limit is not None
    assert (refusal.code, refusal.limit.limit_id, refusal.limit.held_micros) == (Code.BUDGET_EXCEEDED, new.id, HOLD)


async def test_creating_twice_makes_one_and_says_so(world: World, pool: Pool) -> None:
    await accept(world, pool)
    new = asked(world)
    first, again = await create(pool, new), await create(pool, new)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.budget == first.budget
    with pytest.raises(RefusedError) as caught:
        await create(pool, asked(world))
    assert code_of(caught) is Code.CONFLICT
    assert await broken(world.database_url) == {}


async def test_an_idempotent_call_makes_one_budget_for_two_ids(world: World, pool: Pool) -> None:
    call = IdempotentCall(key="once", request_hash=b"h" * 32)
    first, again = await create(pool, asked(world), call), await create(pool, asked(world), call)
    assert again.replayed
    assert again.budget.id == first.budget.id
    with pytest.raises(RefusedError) as caught:
        await create(pool, asked(world), IdempotentCall(key="once", request_hash=b"i" * 32))
    assert code_of(caught) is Code.IDEMPOTENCY_KEY_REUSED


async def test_of_two_that_race_one_is_made(world: World, pool: Pool) -> None:
    results = await asyncio.gather(*(create(pool, asked(world)) for _ in range(6)), return_exceptions=True)
    made = [result for result in results if isinstance(result, CreatedBudget)]
    refused = [result for result in results if isinstance(result, RefusedError)]
    assert (len(made), len(refused)) == (1, 5)
    assert {error.refusal.code for error in refused} == {Code.CONFLICT}


async def test_creating_and_deleting_while_casts_come_and_go_never_breaks_a_window(world: World, pool: Pool) -> None:
    async def casts() -> None:
        for _ in range(8):
            jobs = [await again(lambda: accept(world, pool)) for _ in range(3)]
            await again(partial(finish, pool, *jobs))

    async def limits() -> None:
        for _ in range(8):
            created = await again(partial(create, pool, asked(world, 10**9)))
            await asyncio.sleep(0)
            await again(partial(drop, pool, world, created.budget.id))

    await asyncio.gather(casts(), casts(), limits())
    assert await broken(world.database_url) == {}
    assert await world.rows("SELECT DISTINCT held_micros FROM budget_windows") == [(0,)]


async def test_a_changed_limit_holds_from_the_next_cast_on(world: World, pool: Pool) -> None:
    new = asked(world, HOLD)
    await create(pool, new)
    await accept(world, pool)
    (verdict,) = await admit(pool, world.request())
    assert isinstance(verdict, Judged)
    assert isinstance(verdict.results[0], Refusal)
    for _ in range(2):  # the second time changes nothing
        changed = await change(pool, world, new.id, terms(2 * HOLD))
        assert (changed.hard_limit_micros, changed.held_micros) == (2 * HOLD, HOLD)
    await accept(world, pool)
    lowered = await change(pool, world, new.id, terms(1), may_raise=False)
    assert (lowered.hard_limit_micros, lowered.held_micros) == (1, 2 * HOLD)
    assert await broken(world.database_url, limits_lowered=True) == {}


@pytest.mark.parametrize(
    "to",
    [terms(10_001, soft=500), terms(None, soft=500), terms(10_000, soft=501), terms(10_000, soft=500, notify=False)],
)
async def test_raising_needs_the_right_to_it(world: World, pool: Pool, to: BudgetTerms) -> None:
    new = asked(world, 10_000, soft=500)
    await create(pool, new)
    with pytest.raises(RefusedError) as caught:
        await change(pool, world, new.id, to, may_raise=False)
    assert code_of(caught) is Code.FORBIDDEN
    with pytest.raises(RefusedError) as caught:
        await drop(pool, world, new.id, may_raise=False)
    assert code_of(caught) is Code.FORBIDDEN
    assert (await change(pool, world, new.id, to)).hard_limit_micros == to.hard_limit_micros


async def test_deleting_frees_the_next_cast_and_open_ones_still_settle(world: World, pool: Pool) -> None:
    new = asked(world, HOLD)
    await create(pool, new)
    job = await accept(world, pool)
    await drop(pool, world, new.id)
    with pytest.raises(RefusedError) as caught:
        await drop(pool, world, new.id)
    assert code_of(caught) is Code.NOT_FOUND
    second = await accept(world, pool)
    renewed = await create(pool, asked(world, 10 * HOLD))
    assert (renewed.budget.spent_micros, renewed.budget.held_micros) == (0, 2 * HOLD)
    await finish(pool, job, second)
    assert await broken(world.database_url) == {}
    assert await world.window(new.id) == (COST, 0)
    assert await world.window(renewed.budget.id) == (2 * COST, 0)


async def test_what_is_not_the_accounts_own_cannot_be_limited_changed_or_deleted(world: World, pool: Pool) -> None:
    stranger = await make_world(world.database_url)
    for new in (
        asked(world, scope="account", scope_id=stranger.account_id),
        asked(world, scope="key", scope_id=stranger.key_id),
        asked(world, scope="spell", scope_id=uuid4()),
    ):
        with pytest.raises(RefusedError) as caught:
            await create(pool, new)
        assert code_of(caught) is Code.NOT_FOUND
    theirs = await create(pool, asked(stranger))
    for attempt in (
        change(pool, world, theirs.budget.id, terms(1)),
        drop(pool, world, theirs.budget.id),
    ):
        with pytest.raises(RefusedError) as caught:
            await attempt
        assert code_of(caught) is Code.NOT_FOUND


async def test_limits_that_cannot_be_meant_are_refused(world: World, pool: Pool) -> None:
    for new in (asked(world, None), asked(world, 5, soft=6)):
        with pytest.raises(RefusedError) as caught:
            await create(pool, new)
        assert code_of(caught) is Code.VALIDATION
        assert caught.value.refusal.faults


async def test_an_account_has_a_bounded_number_of_budgets(world: World, pool: Pool) -> None:
    await world.rows(
        "INSERT INTO budgets (id, account_id, scope, scope_id, period, hard_limit_micros)"
        " SELECT gen_random_uuid(), %s, 'key', gen_random_uuid(), 'daily', 1 FROM generate_series(1, %s)",
        world.account_id,
        BUDGETS_PER_ACCOUNT_MAX,
    )
    with pytest.raises(RefusedError) as caught:
        await create(pool, asked(world))
    assert code_of(caught) is Code.CONFLICT


async def test_a_suspended_account_changes_nothing(world: World, pool: Pool) -> None:
    await world.rows("UPDATE accounts SET status = 'suspended' WHERE id = %s", world.account_id)
    with pytest.raises(RefusedError) as caught:
        await create(pool, asked(world))
    assert code_of(caught) is Code.FORBIDDEN


async def test_the_apps_role_sees_one_accounts_budgets_and_holds(world: World, pool: Pool) -> None:
    await accept(world, pool)
    created = await create(pool, asked(world))
    now = datetime.now(UTC)
    stranger = await make_world(world.database_url)
    async with open_pool(world.database_url, role=Role.APP, size_max=1) as app:
        async with account_transaction(app, world.account_id) as connection:
            (listed,) = await budgets.budgets_list(connection, account_id=world.account_id, now=now)
            assert listed == created.budget
            (hold,) = await budgets.holds_list(connection, account_id=world.account_id, before=None, limit=10)
            assert hold.held_micros == HOLD
            assert hold.window_ids == [window_id(created.budget.id, starts_on(Period.MONTHLY, now))]
            assert await budgets.holds_total(connection, account_id=world.account_id) == (1, HOLD)
        async with account_transaction(app, stranger.account_id) as connection:
            assert await budgets.budgets_list(connection, account_id=world.account_id, now=now) == []
        async with transaction(app) as connection:
            for table in ("accounts", "api_keys", "budgets", "budget_windows", "casts", "spells", "spell_versions"):
                cursor = await connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
                assert await cursor.fetchone() == (0,), table


async def test_money_is_shown_in_cents_that_never_flatter(world: World, pool: Pool) -> None:
    await accept(world, pool)
    created = await create(pool, asked(world))
    assert current_cents(created.budget) == 1


async def test_a_deleted_budget_is_not_made_again_by_a_replay(world: World, pool: Pool) -> None:
    call = IdempotentCall(key="once", request_hash=b"h" * 32)
    made = await create(pool, asked(world), call)
    await drop(pool, world, made.budget.id)
    with pytest.raises(RefusedError) as caught:
        await create(pool, asked(world), call)
    assert code_of(caught) is Code.NOT_FOUND


async def test_an_account_there_is_not_changes_nothing(world: World, pool: Pool) -> None:
    nobody = msgspec.structs.replace(asked(world), account_id=uuid4())
    with pytest.raises(RefusedError) as caught:
        await create(pool, nobody)
    assert code_of(caught) is Code.NOT_FOUND


async def test_a_month_is_shown_with_and_without_budgets(world: World, pool: Pool) -> None:
    now = datetime.now(UTC)

    async def month() -> tuple[int, int]:
        async with transaction(pool) as connection:
            return await budgets.month_get(connection, account_id=world.account_id, now=now)

    assert await month() == (0, 0)
    job = await accept(world, pool)
    assert await month() == (0, HOLD)
    await finish(pool, job)
    assert await month() == (COST, 0)


def test_cents_are_whole_and_no_limit_stays_none() -> None:
    assert (micros_of_cents(None), micros_of_cents(3)) == (None, 30_000)
    assert (cents_of_limit(None), cents_of_limit(39_999)) == (None, 3)
