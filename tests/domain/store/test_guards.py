"""The last guards, in SQL: what no decision lets through is refused by the statement that writes it."""

from collections.abc import AsyncGenerator
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import pytest

from domain.model.budgets import window_id
from domain.model.periods import Period, starts_on
from domain.store.admission import Holds, MicrosRow, MonthRow, NewMonthRow, WindowRow, write
from domain.store.connection import Pool, Role, StoreError, open_pool, transaction
from tests.domain.admitted import accept
from tests.domain.world import HOLD, World, make_world

NOTHING = Holds(
    new_windows=[],
    new_months=[],
    windows=[],
    months=[],
    grants=[],
    keys=[],
    accounts=[],
    casts=[],
    terms=[],
    inputs=[],
    idempotency=[],
)


@pytest.fixture
async def world(database_url: str) -> World:
    return await make_world(database_url)


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    async with open_pool(database_url, role=Role.ENGINE, size_max=2) as opened:
        yield opened


def holds(**fields: object) -> Holds:
    return Holds(**{**{name: getattr(NOTHING, name) for name in NOTHING.__struct_fields__}, **fields})


async def test_a_window_without_room_is_not_raised_and_the_batch_rolls_back(world: World, pool: Pool) -> None:
    budget = await world.add_budget(2 * HOLD)
    await accept(world, pool)
    identifier = window_id(budget, starts_on(Period.MONTHLY, datetime.now(UTC)))
    with pytest.raises(AssertionError, match="windows_hold did not find"):
        await _write(pool, holds(windows=[MicrosRow(id=identifier, micros=HOLD + 1)]))
    assert await world.window(budget) == (0, HOLD)
    await _write(pool, holds(windows=[MicrosRow(id=identifier, micros=HOLD)]))
    assert await world.window(budget) == (0, 2 * HOLD)


async def test_a_window_there_is_not_holds_nothing(pool: Pool) -> None:
    with pytest.raises(AssertionError, match="windows_hold did not find"):
        await _write(pool, holds(windows=[MicrosRow(id=UUID(int=1), micros=1)]))


async def test_a_window_is_made_once(world: World, pool: Pool) -> None:
    budget = await world.add_budget(10)
    today = starts_on(Period.MONTHLY, datetime.now(UTC))
    row = WindowRow(
        id=window_id(budget, today),
        account_id=world.account_id,
        budget_id=budget,
        starts_on=today,
        hard_limit_micros=10,
    )
    held = [MicrosRow(id=row.id, micros=4)]
    await _write(pool, holds(new_windows=[row], windows=held))
    await _write(pool, holds(new_windows=[row], windows=held))
    assert await world.window(budget) == (0, 8)


async def test_a_month_there_is_not_holds_nothing(world: World, pool: Pool) -> None:
    held = MonthRow(account_id=world.account_id, month=date(2026, 3, 1), micros=5, free=2, test=3)
    with pytest.raises(AssertionError, match="months_hold did not find"):
        await _write(pool, holds(months=[held]))


async def test_a_month_is_begun_once_and_keeps_what_it_holds(world: World, pool: Pool) -> None:
    new = NewMonthRow(account_id=world.account_id, month=date(2026, 3, 1))
    held = MonthRow(account_id=world.account_id, month=new.month, micros=5, free=2, test=3)
    for _ in range(2):
        await _write(pool, holds(new_months=[new], months=[held]))
    found = await world.rows(
        "SELECT month, held_micros, free_held, test_casts, spent_micros, free_used FROM account_months"
    )
    assert found == [(new.month, 10, 4, 6, 0, 0)]


async def test_a_grant_without_that_much_left_is_not_held(world: World, pool: Pool) -> None:
    grant = uuid4()
    await world.rows(
        "INSERT INTO credit_grants (id, account_id, priority, granted_micros, balance_micros, held_micros)"
        " VALUES (%s, %s, 1, 100, 100, 60)",
        grant,
        world.account_id,
    )
    with pytest.raises(AssertionError, match="grants_hold did not find"):
        await _write(pool, holds(grants=[MicrosRow(id=grant, micros=41)]))
    await _write(pool, holds(grants=[MicrosRow(id=grant, micros=40)]))
    assert await world.rows("SELECT held_micros FROM credit_grants") == [(100,)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_transfers SET amount_micros = 1",
        "DELETE FROM ledger_transfers",
        "UPDATE usage_events SET cost_micros = 0",
        "DELETE FROM usage_events",
        "DELETE FROM casts",
        "UPDATE price_book SET per_cast_micros = 0",
        "TRUNCATE ledger_transfers",
    ],
)
@pytest.mark.parametrize("role", [Role.ENGINE, Role.APP])
async def test_no_process_changes_what_was_booked(database_url: str, role: Role, statement: str) -> None:
    async with open_pool(database_url, role=role, size_max=1) as opened:
        with pytest.raises(StoreError, match="permission denied"):
            async with transaction(opened) as connection:
                await connection.execute(statement.encode())


async def _write(pool: Pool, rows: Holds) -> None:
    async with transaction(pool) as connection:
        await write(connection, rows)
