"""Budgets, their windows, and the open casts they apply to. Everything runs inside the caller's transaction."""

from datetime import date, datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row, dict_row

from domain.model.budgets import Budget, Scope
from domain.model.periods import Period, month_of, starts_on
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)

# What the counters call the use of a scope.
_DIMENSIONS: Final[dict[Scope, str]] = {"account": "account", "key": "key", "spell": "account_spell"}


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """An open cast and what it holds. `id` is the cast's."""

    id: UUID
    key_id: UUID | None
    spell_id: UUID
    status: str
    held_micros: int
    funding: str
    accepted_at: datetime
    deadline_at: datetime
    window_ids: list[UUID]


async def budget_insert(conn: Connection, budget: Budget) -> None:
    """Make a budget; its window is made apart."""
    row = msgspec.structs.asdict(budget)
    await conn.execute(_QUERIES["budget_insert"], {**row, "now": budget.created_at})


async def budgets_list(conn: Connection, *, account_id: UUID, now: datetime) -> list[Budget]:
    """Return the budgets of an account that are alive, newest first, with their windows that hold `now`."""
    parameters = {"account_id": account_id, "day": starts_on(Period.DAILY, now), "month": month_of(now)}
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_QUERIES["budgets_list"], parameters)
        return msgspec.convert(await cursor.fetchall(), list[Budget])


async def budget_update(
    conn: Connection,
    *,
    account_id: UUID,
    budget_id: UUID,
    soft_limit_micros: int | None,
    hard_limit_micros: int | None,
    notify: bool,
) -> bool:
    """Change a budget that is alive; False when there is none."""
    cursor = await conn.execute(
        _QUERIES["budget_update"],
        {
            "account_id": account_id,
            "id": budget_id,
            "soft_limit_micros": soft_limit_micros,
            "hard_limit_micros": hard_limit_micros,
            "notify": notify,
        },
    )
    return cursor.rowcount == 1


async def window_limit_update(
    conn: Connection, *, budget_id: UUID, first_day: date, hard_limit_micros: int | None
) -> None:
    """Copy a changed limit to the windows that start on `first_day` or later."""
    await conn.execute(
        _QUERIES["window_limit_update"],
        {"budget_id": budget_id, "starts_on": first_day, "hard_limit_micros": hard_limit_micros},
    )


async def budget_delete(conn: Connection, *, account_id: UUID, budget_id: UUID, now: datetime) -> bool:
    """End a budget; False when there is none alive."""
    cursor = await conn.execute(_QUERIES["budget_delete"], {"account_id": account_id, "id": budget_id, "now": now})
    return cursor.rowcount == 1


async def spent_read(conn: Connection, *, account_id: UUID, scope: Scope, scope_id: UUID, first_day: date) -> int:
    """Return in micros what the scope's settled casts accepted on `first_day` or later have cost."""
    cursor = await conn.execute(
        _QUERIES["spent_read"],
        {
            "account_id": account_id,
            "dimension": _DIMENSIONS[scope],
            "scope_id": scope_id,
            "starts_on": first_day,
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def holds_adopt(
    conn: Connection, *, account_id: UUID, scope: Scope, scope_id: UUID, starts_at: datetime, window_id: UUID
) -> int:
    """Add the window to the scope's open casts accepted since `starts_at`; return in micros what these hold.

    Needs Role.ENGINE and the account lock: without it a cast could settle in between and give back elsewhere.
    """
    cursor = await conn.execute(
        _QUERIES["holds_adopt"],
        {
            "account_id": account_id,
            "scope": scope,
            "scope_id": scope_id,
            "starts_at": starts_at,
            "window_id": window_id,
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def window_insert(conn: Connection, *, budget: Budget, window_id: UUID, first_day: date) -> None:
    """Make the first window of a budget with the amounts in `budget`."""
    await conn.execute(
        _QUERIES["window_insert"],
        {
            "id": window_id,
            "account_id": budget.account_id,
            "budget_id": budget.id,
            "starts_on": first_day,
            "hard_limit_micros": budget.hard_limit_micros,
            "spent_micros": budget.spent_micros,
            "held_micros": budget.held_micros,
        },
    )


async def scope_exists(conn: Connection, *, account_id: UUID, scope: Scope, scope_id: UUID) -> bool:
    """Tell whether the account may set a limit on this key or spell."""
    cursor = await conn.execute(
        _QUERIES["scope_exists"], {"account_id": account_id, "scope": scope, "scope_id": scope_id}
    )
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def holds_list(conn: Connection, *, account_id: UUID, before: UUID | None, limit: int) -> list[Hold]:
    """Return up to `limit` open casts with ids below `before`, newest first."""
    async with conn.cursor(row_factory=class_row(Hold)) as cursor:
        await cursor.execute(_QUERIES["holds_list"], {"account_id": account_id, "before": before, "limit": limit})
        return await cursor.fetchall()


async def holds_total(conn: Connection, *, account_id: UUID) -> tuple[int, int]:
    """Return how many casts are open, and in micros what they hold together."""
    cursor = await conn.execute(_QUERIES["holds_total"], {"account_id": account_id})
    row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


async def month_get(conn: Connection, *, account_id: UUID, now: datetime) -> tuple[int, int]:
    """Return in micros what the account spent and holds of the month of `now`, whatever budgets it has."""
    cursor = await conn.execute(_QUERIES["month_get"], {"account_id": account_id, "month": month_of(now)})
    row = await cursor.fetchone()
    return (0, 0) if row is None else (row[0], row[1])
