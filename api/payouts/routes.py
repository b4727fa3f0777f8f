"""GET /v1/payouts and what is under it."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.params import Parameter

from api import weights
from api.access import SESSION_ONLY, needs
from api.auth import Principal
from api.billing.asking import asking_stripe, stripe_keys
from api.billing.off import StripeAccess, require_stripe
from api.billing.views import UrlView
from api.listing import LIMIT_DEFAULT, LIMIT_MAX, link_headers, page_of, parse_cursor
from api.payouts.connecting import as_it_is, open_onboarding
from api.payouts.views import (
    OnboardingBody,
    OnboardingView,
    PayoutAccountView,
    PayoutList,
    account_view,
    payout_view,
)
from api.services import Services
from domain.model.audit import Actor
from domain.model.errors import Code, refuse
from domain.model.key_rules import KeyScope
from domain.model.payouts import fresh_since
from domain.store import payouts
from domain.store.connection import account_transaction, transaction

_READ: Final = needs(KeyScope.BILLING_READ, KeyScope.BILLING_WRITE)
_TAGS: Final = ["payouts"]
# Where Stripe's pages lead back to.
PAGE: Final = "/dashboard/payouts"
_Limit = Annotated[int, Parameter(ge=1, le=LIMIT_MAX)]


@get("/v1/payouts", access=_READ, tags=_TAGS)
async def list_payouts(
    request: Request[Any, Any, Any],
    services: Services,
    principal: Principal,
    *,
    limit: _Limit = LIMIT_DEFAULT,
    cursor: str | None = None,
    created_after: datetime | None = None,
) -> Response[PayoutList]:
    """List what the creator was paid, newest first."""
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        rows = await payouts.payouts_list(
            connection,
            principal.account_id,
            before=parse_cursor(cursor),
            since=created_after,
            limit=limit + 1,
        )
    page, following = page_of(rows, limit, lambda row: (row.frozen_at, row.id))
    view = PayoutList(data=[payout_view(row) for row in page], next_cursor=following, has_more=following is not None)
    query: dict[str, str | int | None] = {
        "limit": limit,
        "created_after": None if created_after is None else created_after.isoformat(),
    }
    return Response(view, headers=link_headers(request.url.path, query, following))


@get("/v1/payouts/account", access=_READ, weight=weights.SUM_UP, tags=_TAGS)
async def show_account(services: Services, principal: Principal) -> PayoutAccountView:
    """Show whether the creator can be paid, and what is owed to him now."""
    return await payout_account(services, principal.account_id)


async def payout_account(services: Services, account_id: UUID) -> PayoutAccountView:
    """Return how a creator is paid; where Stripe has not said that he can be, it is asked."""
    stripe = _stripe_of(services)
    account = await as_it_is(services, stripe, account_id)
    async with transaction(services.engine_pool) as connection:  # rows of the ledger are of whoever paid
        owed = await payouts.owed_read(connection, account_id, fresh_since=fresh_since(services.now()))
    return account_view(account, owed)


@post("/v1/payouts/onboarding", status_code=200, access=SESSION_ONLY, weight=weights.REACH_OUT, tags=_TAGS)
async def onboard(
    request: Request[Any, Any, Any],
    services: Services,
    principal: Principal,
    actor: Actor,
    data: OnboardingBody | None = None,
) -> OnboardingView:
    """Open Stripe's page where a creator says who he is and where his bank is. One account, however often it is asked.

    Of a session alone: who has the link says whose bank account it is.
    """
    country = None if data is None else data.country
    return await onboarding_link(request, services, principal, actor, country)


async def onboarding_link(
    request: Request[Any, Any, Any], services: Services, principal: Principal, actor: Actor, country: str | None
) -> OnboardingView:
    """Return where that page is. Raises RefusedError."""
    stripe = require_stripe(services)
    keys = await stripe_keys(request, principal.account_id)
    link = await open_onboarding(
        services,
        stripe,
        account_id=principal.account_id,
        actor=actor,
        country=country,
        key=keys.of("onboarding"),
        page=f"{services.settings.public_url}{PAGE}",
    )
    return OnboardingView(url=link.url, expires_at=link.expires_at)


@post("/v1/payouts/login-link", status_code=200, access=SESSION_ONLY, weight=weights.REACH_OUT, tags=_TAGS)
async def open_dashboard(services: Services, principal: Principal) -> UrlView:
    """Open the creator's own dashboard at Stripe, for one visit. 409 before he went through the onboarding page."""
    return UrlView(url=await dashboard_link(services, principal.account_id))


async def dashboard_link(services: Services, account_id: UUID) -> str:
    """Return where that dashboard is. Raises RefusedError."""
    stripe = require_stripe(services)
    account = await as_it_is(services, stripe, account_id)
    if account is None or account.stripe_account_id is None or not account.details_submitted:
        raise refuse(Code.CONFLICT, "Stripe does not know you yet: POST /v1/payouts/onboarding opens its page.")
    async with asking_stripe():
        return await stripe.gateway.accounts.log_in(account.stripe_account_id)


def _stripe_of(services: Services) -> StripeAccess | None:
    return None if services.stripe is None or services.settings.stripe is None else require_stripe(services)


ROUTES: Final[list[Any]] = [list_payouts, show_account, onboard, open_dashboard]
