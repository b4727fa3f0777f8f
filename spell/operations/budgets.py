"""Budgets, and the holds that weigh on them. Limits are sent in cents of a US dollar, as they are set."""

from typing import Final

from spell.core.exchange import JSON, Request, json_body, query_of
from spell.core.listing import PAGE_SIZE_MAX, Listing, listing
from spell.core.names import segment
from spell.core.operation import Operation, decoded, nothing
from spell.models.budgets import Budget, BudgetList, BudgetUsage, Hold, HoldPage

_HEADERS: Final = {"content-type": JSON}
_budget: Final = decoded(Budget)
_list: Final = decoded(BudgetList)
_usage: Final = decoded(BudgetUsage)
_holds: Final = decoded(HoldPage)


def create(
    *,
    scope: str = "account",
    scope_id: str | None = None,
    period: str = "monthly",
    soft_limit_cents: int | None = None,
    hard_limit_cents: int | None = None,
    notify: bool = True,
    idempotency_key: str | None = None,
) -> Operation[Budget]:
    """Make a budget: from the answer on it binds every cast of its scope (`account`, `key` or `spell`).

    `scope_id` is the id of the key or the spell. `period` is `daily` or `monthly`.
    """
    body = {"scope": scope, "period": period, "notify": notify} | _given(
        scope_id=scope_id, soft_limit_cents=soft_limit_cents, hard_limit_cents=hard_limit_cents
    )
    return Operation(
        request=Request(method="POST", path="/v1/budgets", headers=_HEADERS, body=json_body(body)),
        decode=_budget,
        creates=True,
        idempotency_key=idempotency_key,
    )


def list_budgets() -> Operation[BudgetList]:
    """Return every budget of the account (`data`), with what is spent and held."""
    return Operation(request=Request(method="GET", path="/v1/budgets"), decode=_list)


def get(budget: str) -> Operation[Budget]:
    """Return one budget by its id."""
    return Operation(request=Request(method="GET", path=_path(budget)), decode=_budget)


def update(
    budget: str, *, soft_limit_cents: int | None = None, hard_limit_cents: int | None = None, notify: bool = True
) -> Operation[Budget]:
    """Replace the limits of a budget; None is no limit of that kind. Raising needs a session or `budgets:write`."""
    body = {"soft_limit_cents": soft_limit_cents, "hard_limit_cents": hard_limit_cents, "notify": notify}
    request = Request(method="PUT", path=_path(budget), headers=_HEADERS, body=json_body(body))
    return Operation(request=request, decode=_budget)


def set_own(
    *,
    period: str = "monthly",
    soft_limit_cents: int | None = None,
    hard_limit_cents: int | None = None,
    notify: bool = True,
) -> Operation[Budget]:
    """Set the limits of the account's own budget of the period; it is made when there is none."""
    body = {
        "period": period,
        "soft_limit_cents": soft_limit_cents,
        "hard_limit_cents": hard_limit_cents,
        "notify": notify,
    }
    request = Request(method="PUT", path="/v1/budgets", headers=_HEADERS, body=json_body(body))
    return Operation(request=request, decode=_budget)


def delete(budget: str) -> Operation[None]:
    """Delete a budget. Needs a session, or `budgets:write` on a key that the budget does not bind."""
    return Operation(request=Request(method="DELETE", path=_path(budget)), decode=nothing)


def usage() -> Operation[BudgetUsage]:
    """Return what the account used of this month, and how each budget stands."""
    return Operation(request=Request(method="GET", path="/v1/budgets/usage"), decode=_usage)


def list_holds(*, page_size: int = PAGE_SIZE_MAX) -> Listing[Hold]:
    """Return the open casts and what each holds, newest first."""
    return listing("/v1/holds", Hold, query_of(limit=page_size))


def holds_summary() -> Operation[HoldPage]:
    """Return how many casts are open and what they hold together, with the newest of them."""
    return Operation(request=Request(method="GET", path="/v1/holds"), decode=_holds)


def _path(budget: str) -> str:
    return f"/v1/budgets/{segment(budget)}"


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}
