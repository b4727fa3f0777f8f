"""End a budget. Open casts still give their holds back to its windows, which stay."""

from uuid import UUID

from domain.flow.audit import audit
from domain.flow.creation import lock_active_account
from domain.model.audit import Action, Actor
from domain.model.errors import Code, refuse
from domain.store import budgets, identity
from domain.store.connection import Connection


async def delete_budget(conn: Connection, *, account_id: UUID, budget_id: UUID, may_raise: bool, actor: Actor) -> None:
    """End the budget under the account lock: from the commit on it binds no cast.

    Raises RefusedError: not found (also the second time), forbidden when `may_raise` is False, because no limit is
    the highest.
    """
    await lock_active_account(conn, account_id=account_id)
    now = await identity.instant_read(conn)
    alive = await budgets.budgets_list(conn, account_id=account_id, now=now)
    budget = next((budget for budget in alive if budget.id == budget_id), None)
    if budget is None:
        raise refuse(Code.NOT_FOUND, "This account has no budget of that id.")
    if not may_raise:
        raise refuse(
            Code.FORBIDDEN,
            "Deleting a budget needs a session or a key with the scope 'budgets:write' that the budget does not bind.",
        )
    await budgets.budget_delete(conn, account_id=account_id, budget_id=budget_id, now=now)
    await audit(conn, actor, Action.BUDGET_DELETE, account_id=account_id, target_id=budget_id, before=budget, now=now)
