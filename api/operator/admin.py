"""The operator's view, behind X-Admin-Secret or the scope `admin`: holds, queues, the ledger, dead letters."""

import hmac
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import get
from litestar.connection import ASGIConnection
from litestar.exceptions import NotFoundException
from litestar.handlers import BaseRouteHandler
from litestar.params import Parameter

from api.access import needs
from api.admission.rate import Caller
from api.admission.wire import QueueState, queue_states
from api.call import call_of
from api.guard import admit_request, authenticate, caller_of, shows_credentials
from api.services import Services
from domain.model.errors import Code, refuse
from domain.model.key_rules import KeyScope
from domain.store.casts import FIRST_ID
from domain.store.connection import transaction
from domain.store.ops import (
    HoldsTotal,
    LedgerAccount,
    OpenHold,
    holds_list,
    holds_total,
    reconciliation_latest,
    trial_balance,
)

PAGE_MAX: Final = 1_000
LEDGER_ACCOUNTS_MAX: Final = 10_000
REPORTS_MAX: Final = 30
# Of one address, right or wrong: an operator's tools stay below it, and a secret of 128 bits is out of reach far above.
SECRET_RPM: Final = 1_200
_ADMIN: Final = needs(KeyScope.ADMIN)


async def require_admin(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let through whoever knows the secret, or has the role `admin` or a key with that scope: the operator gives both.

    Where no secret is configured the routes do not exist for whoever shows no key.
    """
    del handler
    services: Services = connection.app.state.services
    call = call_of(connection.scope)
    if b"x-admin-secret" not in call.headers and shows_credentials(services, call):
        principal = await authenticate(services, call)
        await admit_request(services, call, caller_of(principal))
        if principal.role != "admin":
            _ADMIN.check(principal)
        return
    await admit_request(services, call, Caller(f"admin:{services.strangers.address(call)}", SECRET_RPM))
    secret = services.settings.admin_secret
    if secret is None:
        raise NotFoundException
    given = call.headers.get(b"x-admin-secret", b"")
    if not hmac.compare_digest(given, secret.reveal().encode()):
        raise refuse(Code.UNAUTHORIZED, "Send the operator's secret as X-Admin-Secret.")


class HoldsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Open holds, oldest first, and the two sums that must be equal."""

    data: list[OpenHold]
    total: HoldsTotal
    drift_micros: int
    next_cursor: UUID | None


class TrialBalance(msgspec.Struct, frozen=True, kw_only=True):
    """Every account of the ledger; `sum_micros` is all credits minus all debits and must be 0."""

    data: list[LedgerAccount]
    sum_micros: int


class ReportView(msgspec.Struct, frozen=True, kw_only=True):
    """One reconciliation."""

    id: int
    made_at: str
    scope: str
    """`books`: our own, with each other; `stripe`: ours with Stripe's."""
    balanced: bool
    report: msgspec.Raw


@get("/admin/holds", tags=["admin"], guards=[require_admin])
async def get_holds(
    services: Services,
    limit: Annotated[int, Parameter(ge=1, le=PAGE_MAX)] = 100,
    cursor: UUID = FIRST_ID,
) -> HoldsPage:
    """List open holds with age and owner, and compare their sum with what accounts say is held."""
    async with transaction(services.engine_pool) as connection:
        rows = await holds_list(connection, after=cursor, limit=limit)
        total = await holds_total(connection)
    following = rows[-1].id if len(rows) == limit else None
    return HoldsPage(data=rows, total=total, drift_micros=total.drift_micros, next_cursor=following)


@get("/admin/queues", tags=["admin"], guards=[require_admin])
async def get_queues(services: Services) -> dict[str, list[QueueState]]:
    """Show what lies in each pool's streams."""
    return {"data": await queue_states(services.redis)}


@get("/admin/ledger/trial-balance", tags=["admin"], guards=[require_admin])
async def get_trial_balance(services: Services) -> TrialBalance:
    """Sum the ledger by account."""
    async with transaction(services.engine_pool) as connection:
        rows = await trial_balance(connection, limit=LEDGER_ACCOUNTS_MAX)
    return TrialBalance(data=rows, sum_micros=sum(row.credit_micros - row.debit_micros for row in rows))


@get("/admin/reconciliation", tags=["admin"], guards=[require_admin])
async def get_reconciliation(services: Services) -> dict[str, list[ReportView]]:
    """Show the newest reports of the daily reconciliation."""
    async with transaction(services.engine_pool) as connection:
        rows = await reconciliation_latest(connection, limit=REPORTS_MAX)
    return {
        "data": [
            ReportView(
                id=row.id,
                made_at=row.made_at.isoformat(),
                scope=row.scope,
                balanced=row.balanced,
                report=msgspec.Raw(row.report),
            )
            for row in rows
        ]
    }


ROUTES: Final = [get_holds, get_queues, get_trial_balance, get_reconciliation]
