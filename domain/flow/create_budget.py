"""Start a budget in the middle of its period, at what its scope has spent and holds already."""

from datetime import UTC, datetime, time
from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.flow.creation import IdempotentCall, lock_active_account, made_before, remember
from domain.model.audit import Action, Actor
from domain.model.budgets import BUDGETS_PER_ACCOUNT_MAX, Budget, Scope, check_limits, window_id
from domain.model.errors import Code, Fault, refuse
from domain.model.periods import Period, starts_on
from domain.store import budgets, identity
from domain.store.connection import Connection


class NewBudget(msgspec.Struct, frozen=True, kw_only=True):
    """A limit somebody asks for, in micros; None is no limit of that kind."""

    id: UUID
    account_id: UUID
    scope: Scope
    scope_id: UUID
    period: Period
    soft_limit_micros: int | None
    hard_limit_micros: int | None
    notify: bool = True


class CreatedBudget(msgspec.Struct, frozen=True, kw_only=True):
    """The budget as it stands. `replayed`: an earlier call made it."""

    budget: Budget
    replayed: bool


async def create_budget(
    conn: Connection, new: NewBudget, *, actor: Actor, call: IdempotentCall | None = None
) -> CreatedBudget:
    """Make the budget under the account lock; the same call again returns the first's. Needs Role.ENGINE.

    From the commit on it binds every cast, and its window counts what the period has spent and what is open.
    Raises RefusedError: conflict (there is one, or too many), not found (no such key or spell), validation,
    idempotency_key_reused.
    """
    await lock_active_account(conn, account_id=new.account_id)
    before = await made_before(conn, account_id=new.account_id, call=call)
    alive = await _alive(conn, new.account_id)
    same = next((budget for budget in alive if budget.id == (before or new.id)), None)
    if same is not None:
        return CreatedBudget(budget=same, replayed=True)
    if before is not None:
        raise refuse(Code.NOT_FOUND, "The budget this Idempotency-Key made has been deleted. Use a new key.")
    budget = await add_budget(conn, new, actor=actor)
    await remember(conn, account_id=new.account_id, call=call, made_id=new.id, now=budget.created_at)
    return CreatedBudget(budget=budget, replayed=False)


async def add_budget(conn: Connection, new: NewBudget, *, actor: Actor) -> Budget:
    """Make the budget for a caller that holds the account lock already."""
    check_limits(new.soft_limit_micros, new.hard_limit_micros)
    await _check_place(conn, new)
    # The period is that of an instant read after the lock: one before it could belong to yesterday's window, while
    # casts accepted since midnight would be missing in today's.
    now = await identity.instant_read(conn)
    first_day = starts_on(new.period, now)
    window = window_id(new.id, first_day)
    spent = await budgets.spent_read(
        conn, account_id=new.account_id, scope=new.scope, scope_id=new.scope_id, first_day=first_day
    )
    held = await budgets.holds_adopt(
        conn,
        account_id=new.account_id,
        scope=new.scope,
        scope_id=new.scope_id,
        starts_at=datetime.combine(first_day, time(), tzinfo=UTC),
        window_id=window,
    )
    budget = Budget(
        id=new.id,
        account_id=new.account_id,
        scope=new.scope,
        scope_id=new.scope_id,
        period=new.period,
        soft_limit_micros=new.soft_limit_micros,
        hard_limit_micros=new.hard_limit_micros,
        notify=new.notify,
        created_at=now,
        spent_micros=spent,
        held_micros=held,
    )
    await budgets.budget_insert(conn, budget)
    await budgets.window_insert(conn, budget=budget, window_id=window, first_day=first_day)
    await audit(conn, actor, Action.BUDGET_CREATE, account_id=new.account_id, target_id=new.id, after=budget, now=now)
    return budget


async def _check_place(conn: Connection, new: NewBudget) -> None:
    """Refuse a scope that is not the account's, one that has a budget, and one budget too many."""
    known = await budgets.scope_exists(conn, account_id=new.account_id, scope=new.scope, scope_id=new.scope_id)
    if not known:
        fault = Fault(location="scope_id", message=f"there is no {new.scope} with this id", fix="Check the id.")
        raise refuse(Code.NOT_FOUND, f"There is no {new.scope} with this scope_id.", faults=(fault,))
    alive = await _alive(conn, new.account_id)
    if any((b.scope, b.scope_id, b.period) == (new.scope, new.scope_id, new.period) for b in alive):
        raise refuse(Code.CONFLICT, f"This {new.scope} has a {new.period} budget. Change it with PUT.")
    if len(alive) >= BUDGETS_PER_ACCOUNT_MAX:
        raise refuse(Code.CONFLICT, f"This account has {BUDGETS_PER_ACCOUNT_MAX} budgets. Delete one first.")


async def _alive(conn: Connection, account_id: UUID) -> list[Budget]:
    return await budgets.budgets_list(conn, account_id=account_id, now=await identity.instant_read(conn))
