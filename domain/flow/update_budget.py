"""Change the limits of a budget. A limit below what is spent and held takes nothing back; it admits nothing new."""

from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.flow.creation import lock_active_account
from domain.model.audit import Action, Actor
from domain.model.budgets import Budget, BudgetTerms, check_limits, is_raised
from domain.model.errors import Code, refuse
from domain.model.periods import starts_on
from domain.store import budgets, identity
from domain.store.connection import Connection


async def update_budget(
    conn: Connection, *, account_id: UUID, budget_id: UUID, terms: BudgetTerms, may_raise: bool, actor: Actor
) -> Budget:
    """Set the budget's terms under the account lock, its window of the current period included; return it as it stands.

    Setting the same again changes nothing. Raises RefusedError: not found, validation, forbidden when a limit would
    be raised and `may_raise` is False.
    """
    check_limits(terms.soft_limit_micros, terms.hard_limit_micros)
    await lock_active_account(conn, account_id=account_id)
    now = await identity.instant_read(conn)
    alive = await budgets.budgets_list(conn, account_id=account_id, now=now)
    budget = next((budget for budget in alive if budget.id == budget_id), None)
    if budget is None:
        raise refuse(Code.NOT_FOUND, "This account has no budget of that id.")
    if not may_raise and is_raised(budget, terms):
        raise refuse(
            Code.FORBIDDEN,
            "Raising a limit needs a session or a key with the scope 'budgets:write' that the budget does not bind.",
        )
    await budgets.budget_update(
        conn,
        account_id=account_id,
        budget_id=budget_id,
        soft_limit_micros=terms.soft_limit_micros,
        hard_limit_micros=terms.hard_limit_micros,
        notify=terms.notify,
    )
    await budgets.window_limit_update(
        conn,
        budget_id=budget_id,
        first_day=starts_on(budget.period, now),
        hard_limit_micros=terms.hard_limit_micros,
    )
    after = msgspec.structs.replace(
        budget,
        soft_limit_micros=terms.soft_limit_micros,
        hard_limit_micros=terms.hard_limit_micros,
        notify=terms.notify,
    )
    await audit(
        conn,
        actor,
        Action.BUDGET_UPDATE,
        account_id=account_id,
        target_id=budget_id,
        before=budget,
        after=after,
        now=now,
    )
    return after
