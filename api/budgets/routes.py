"""Budgets over HTTP: cents as the base product had them, micros beside, and what is open at the moment."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

from litestar import Request, Response, delete, get, post, put
from litestar.params import Parameter

from api.access import ANY_KEY, needs
from api.auth import Principal
from api.budgets.views import (
    BudgetBody,
    BudgetList,
    BudgetUsage,
    BudgetView,
    HoldList,
    LimitsBody,
    budget_view,
    cents_up,
    hold_view,
)
from api.creation import REPLAYED, idempotent_call
from api.errors import invalid
from api.listing import LIMIT_DEFAULT, LIMIT_MAX, link_headers, page_of, parse_cursor
from api.services import Services
from domain.flow.create_budget import NewBudget, create_budget
from domain.flow.delete_budget import delete_budget
from domain.flow.update_budget import update_budget
from domain.model.audit import Actor
from domain.model.budgets import (
    Budget,
    BudgetTerms,
    Scope,
    cents_of_limit,
    current_cents,
    micros_of_cents,
)
from domain.model.errors import Code, Fault, RefusedError, refuse
from domain.model.key_rules import KeyScope
from domain.model.periods import Period, resets_at
from domain.store import budgets
from domain.store.connection import account_transaction, transaction

_Limit = Annotated[int, Parameter(ge=1, le=LIMIT_MAX)]


@post("/v1/budgets", status_code=201, access=ANY_KEY)
async def make_budget(
    request: Request[Any, Any, Any], services: Services, principal: Principal, actor: Actor, data: BudgetBody
) -> Response[BudgetView]:
    """Make a budget: from this answer on it binds every cast of its scope. Any key may; send an Idempotency-Key."""
    call = await idempotent_call(request)
    new = _new_budget(principal, data, scope=data.scope, scope_id=_scope_id(principal, data))
    async with transaction(services.engine_pool) as connection:
        created = await create_budget(connection, new, actor=actor, call=call)
    headers = {"location": f"/v1/budgets/{created.budget.id}"}
    view = budget_view(created.budget, services.now())
    return Response(view, headers={**headers, **REPLAYED} if created.replayed else headers)


@get("/v1/budgets", access=ANY_KEY)
async def list_budgets(services: Services, principal: Principal) -> BudgetList:
    """List every budget of the account with what is spent and held."""
    now = services.now()
    rows = await _all(services, principal, now)
    own = _own(rows, Period.MONTHLY)
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        spent, held = await budgets.month_get(connection, account_id=principal.account_id, now=now)
    return BudgetList(
        id=None if own is None else own.id,
        period=Period.MONTHLY,
        soft_limit_cents=None if own is None else cents_of_limit(own.soft_limit_micros),
        hard_limit_cents=None if own is None else cents_of_limit(own.hard_limit_micros),
        current_cents=cents_up(spent + held) if own is None else current_cents(own),
        data=[budget_view(row, now) for row in rows],
    )


@get("/v1/budgets/usage", access=ANY_KEY)
async def show_usage(services: Services, principal: Principal) -> BudgetUsage:
    """Show what the account used of this month and how each budget stands."""
    now = services.now()
    rows = await _all(services, principal, now)
    own = _own(rows, Period.MONTHLY)
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        spent, held = await budgets.month_get(connection, account_id=principal.account_id, now=now)
    return BudgetUsage(
        period=Period.MONTHLY,
        soft_limit_cents=None if own is None else cents_of_limit(own.soft_limit_micros),
        hard_limit_cents=None if own is None else cents_of_limit(own.hard_limit_micros),
        current_cents=cents_up(spent + held),
        spent_micros=spent,
        held_micros=held,
        resets_at=resets_at(Period.MONTHLY, now),
        data=[budget_view(row, now) for row in rows],
    )


@get("/v1/budgets/{budget_id:uuid}", access=ANY_KEY)
async def show_budget(services: Services, principal: Principal, budget_id: UUID) -> BudgetView:
    """Show one budget."""
    now = services.now()
    found = next((row for row in await _all(services, principal, now) if row.id == budget_id), None)
    if found is None:
        raise refuse(Code.NOT_FOUND, "This account has no budget of that id.")
    return budget_view(found, now)


@put("/v1/budgets/{budget_id:uuid}", access=ANY_KEY)
async def change_budget(
    services: Services, principal: Principal, actor: Actor, budget_id: UUID, data: LimitsBody
) -> BudgetView:
    """Replace the limits of a budget. Any key may lower them; raising needs a session or `budgets:write`."""
    found = await _find(services, principal, budget_id)
    _check_period(found, data)
    return await _change(services, principal, actor, found, data)


@put("/v1/budgets", access=ANY_KEY)
async def set_own_budget(
    services: Services, principal: Principal, actor: Actor, data: LimitsBody
) -> Response[BudgetView]:
    """Replace the limits of the account's own budget of the period, or make it when there is none."""
    period = data.period or Period.MONTHLY
    own = _own(await _all(services, principal, services.now()), period)
    if own is not None:
        return Response(await _change(services, principal, actor, own, data), status_code=200)
    new = _new_budget(principal, data, scope="account", scope_id=principal.account_id)
    async with transaction(services.engine_pool) as connection:
        created = await create_budget(connection, new, actor=actor)
    return Response(budget_view(created.budget, services.now()), status_code=201)


@delete("/v1/budgets/{budget_id:uuid}", status_code=204, access=needs(KeyScope.BUDGETS_WRITE))
async def end_budget(services: Services, principal: Principal, actor: Actor, budget_id: UUID) -> None:
    """Delete a budget. Needs a session, or `budgets:write` on a key that the budget does not bind."""
    await _delete(services, principal, actor, await _find(services, principal, budget_id))


@delete("/v1/budgets", status_code=204, access=needs(KeyScope.BUDGETS_WRITE))
async def end_own_budget(
    services: Services, principal: Principal, actor: Actor, period: Period = Period.MONTHLY
) -> None:
    """Delete the account's own budget of the period."""
    own = _own(await _all(services, principal, services.now()), period)
    if own is None:
        raise refuse(Code.NOT_FOUND, f"This account has no {period} budget of its own.")
    await _delete(services, principal, actor, own)


@get("/v1/holds", access=needs(KeyScope.CASTS_READ))
async def list_holds(
    request: Request[Any, Any, Any],
    services: Services,
    principal: Principal,
    limit: _Limit = LIMIT_DEFAULT,
    cursor: str | None = None,
) -> Response[HoldList]:
    """List the open casts of the account and what each holds."""
    before = parse_cursor(cursor)
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        rows = await budgets.holds_list(
            connection,
            account_id=principal.account_id,
            before=None if before is None else before[1],
            limit=limit + 1,
        )
        count, held = await budgets.holds_total(connection, account_id=principal.account_id)
    page, following = page_of(rows, limit, lambda hold: (hold.accepted_at, hold.id))
    now = services.now()
    view = HoldList(
        open_casts=count,
        held_micros=held,
        data=[hold_view(hold, now) for hold in page],
        next_cursor=following,
        has_more=following is not None,
    )
    return Response(view, headers=link_headers(request.url.path, {"limit": limit}, following))


async def _all(services: Services, principal: Principal, now: datetime) -> list[Budget]:
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        return await budgets.budgets_list(connection, account_id=principal.account_id, now=now)


async def _find(services: Services, principal: Principal, budget_id: UUID) -> Budget:
    found = next((row for row in await _all(services, principal, services.now()) if row.id == budget_id), None)
    if found is None:
        raise refuse(Code.NOT_FOUND, "This account has no budget of that id.")
    return found


async def _change(
    services: Services, principal: Principal, actor: Actor, budget: Budget, data: LimitsBody
) -> BudgetView:
    terms = BudgetTerms(
        soft_limit_micros=micros_of_cents(data.soft_limit_cents),
        hard_limit_micros=micros_of_cents(data.hard_limit_cents),
        notify=data.notify,
    )
    async with transaction(services.engine_pool) as connection:
        changed = await update_budget(
            connection,
            account_id=principal.account_id,
            budget_id=budget.id,
            terms=terms,
            may_raise=may_raise(principal, budget),
            actor=actor,
        )
    return budget_view(changed, services.now())


async def _delete(services: Services, principal: Principal, actor: Actor, budget: Budget) -> None:
    async with transaction(services.engine_pool) as connection:
        await delete_budget(
            connection,
            account_id=principal.account_id,
            budget_id=budget.id,
            may_raise=may_raise(principal, budget),
            actor=actor,
        )


def may_raise(principal: Principal, budget: Budget) -> bool:
    """Tell whether this caller may raise or delete the budget: a session, or a key with the scope it does not bind.

    The account's own budget and a spell's bind every key alike, so only a budget of the very key counts as binding it.
    """
    bound = budget.scope == "key" and budget.scope_id == principal.key_id
    return principal.may(KeyScope.BUDGETS_WRITE) and not bound


def _own(rows: list[Budget], period: Period) -> Budget | None:
    return next((row for row in rows if row.scope == "account" and row.period is period), None)


def _scope_id(principal: Principal, body: BudgetBody) -> UUID:
    if body.scope_id is not None:
        return body.scope_id
    if body.scope == "account":
        return principal.account_id
    fault = Fault(location="scope_id", message="it is missing", fix=f"Send the id of the {body.scope}.")
    raise RefusedError(invalid([fault]))


def _check_period(budget: Budget, body: LimitsBody) -> None:
    if body.period is not None and body.period is not budget.period:
        fault = Fault(
            location="period",
            message=f"this budget is {budget.period} and stays so",
            fix="Delete it and make another, or leave the field out.",
        )
        raise RefusedError(invalid([fault]))


def _new_budget(principal: Principal, body: LimitsBody, *, scope: Scope, scope_id: UUID) -> NewBudget:
    return NewBudget(
        id=uuid4(),
        account_id=principal.account_id,
        scope=scope,
        scope_id=scope_id,
        period=body.period or Period.MONTHLY,
        soft_limit_micros=micros_of_cents(body.soft_limit_cents),
        hard_limit_micros=micros_of_cents(body.hard_limit_cents),
        notify=body.notify,
    )


ROUTES: Final = [
    make_budget,
    list_budgets,
    show_usage,
    show_budget,
    change_budget,
    set_own_budget,
    end_budget,
    end_own_budget,
    list_holds,
]
