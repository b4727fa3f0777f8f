"""Billing: how the account pays, and Stripe's pages to subscribe, to change the card, to go."""

from typing import Any, Final
from uuid import UUID

from litestar import Request, get, post

from api import weights
from api.access import needs
from api.auth import Principal
from api.billing.asking import StripeKeys, asking_stripe, stripe_keys
from api.billing.customer import as_customer, begin
from api.billing.off import StripeAccess, require_stripe
from api.billing.show import billing_view, plan_views
from api.billing.views import BillingView, ChangeBody, CheckoutBody, PlanList, UrlView
from api.services import Services
from domain.flow.bill_account import Payer, keep_checkout, pause_spending
from domain.flow.follow_stripe import follow_subscriptions
from domain.model.audit import Actor
from domain.model.errors import Code, refuse
from domain.model.key_rules import KeyScope
from domain.model.plans import Plan, best
from domain.model.stripe_objects import CheckoutSession, Subscription
from domain.store import identity
from domain.store.connection import transaction
from gateways.stripe.errors import StripeRefused

READ: Final = needs(KeyScope.BILLING_READ, KeyScope.BILLING_WRITE)
WRITE: Final = needs(KeyScope.BILLING_WRITE)
_TAGS: Final = ["billing"]
# Where Stripe's pages lead back to.
PAGE: Final = "/dashboard/billing"


@get("/v1/plans", tags=_TAGS)
async def list_plans(services: Services, visitor: Principal | None) -> PlanList:
    """List the plans, and what they cost."""
    del visitor
    return PlanList(data=await plan_views(services))


@get("/v1/billing", access=READ, tags=_TAGS)
async def show_billing(services: Services, principal: Principal) -> BillingView:
    """Show how the account pays: plan, subscription, whether a payment is overdue, and the month so far."""
    return await billing_view(services, principal.account_id)


@post("/v1/billing/checkout", status_code=200, access=WRITE, weight=weights.REACH_OUT, tags=_TAGS)
async def open_checkout(
    request: Request[Any, Any, Any], services: Services, principal: Principal, data: CheckoutBody | None = None
) -> UrlView:
    """Open Stripe's page to subscribe to a plan. The one opened before ends; 409 with a subscription: change it."""
    principal.require_current()
    plan = Plan((data or CheckoutBody()).plan)
    return UrlView(url=await checkout_url(request, services, principal, plan))


async def checkout_url(request: Request[Any, Any, Any], services: Services, principal: Principal, plan: Plan) -> str:
    """Return where Stripe's page to subscribe is. Raises RefusedError."""
    stripe = require_stripe(services)
    price_id = services.plan_prices.of(plan)
    if price_id is None:
        raise refuse(Code.NOT_AVAILABLE, f"Nobody subscribes to the plan {plan} here. GET /v1/plans lists the others.")
    keys = await stripe_keys(request, principal.account_id)
    payer = await begin(services, principal.account_id)
    if payer.billing.is_subscribed:
        raise refuse(Code.CONFLICT, "This account has a subscription. POST /v1/billing/change goes to another plan.")
    price = await services.fees.of(plan) if services.fees is not None else None
    here = f"{services.settings.public_url}{PAGE}"

    async def ask(customer_id: str) -> CheckoutSession:
        return await stripe.gateway.checkout.subscribe(
            customer_id=customer_id,
            price_id=price_id,
            reference=str(principal.account_id),
            metadata={"account_id": str(principal.account_id), "plan": plan},
            success_url=f"{here}?checkout=success",
            cancel_url=f"{here}?checkout=canceled",
            key=keys.of(f"checkout {plan} {customer_id}"),
            quantity=None if price is not None and price.is_metered else 1,
        )

    session = await as_customer(services, stripe.gateway, payer, ask)
    await _replace_page(services, stripe, keys, principal.account_id, session.id)
    return _url_of(session)


@post("/v1/billing/portal", status_code=200, access=WRITE, weight=weights.REACH_OUT, tags=_TAGS)
async def open_portal(request: Request[Any, Any, Any], services: Services, principal: Principal) -> UrlView:
    """Open Stripe's page where cards are changed, invoices are shown and the subscription is ended."""
    principal.require_current()
    return UrlView(url=await portal_url(request, services, principal))


async def portal_url(request: Request[Any, Any, Any], services: Services, principal: Principal) -> str:
    """Return where that page is. Raises RefusedError."""
    stripe = require_stripe(services)
    keys = await stripe_keys(request, principal.account_id)
    payer = await begin(services, principal.account_id)
    opened = await as_customer(
        services,
        stripe.gateway,
        payer,
        lambda customer_id: stripe.gateway.portal.open(
            customer_id=customer_id,
            return_url=f"{services.settings.public_url}{PAGE}",
            key=keys.of(f"portal {customer_id}"),
        ),
    )
    return opened.url


@post("/v1/billing/change", status_code=200, access=WRITE, weight=weights.REACH_OUT, tags=_TAGS)
async def change_plan(
    request: Request[Any, Any, Any], services: Services, principal: Principal, actor: Actor, data: ChangeBody
) -> BillingView:
    """Go over to another plan now; Stripe prorates. The present plan again withdraws a cancellation."""
    principal.require_current()
    stripe = require_stripe(services)
    price_id = services.plan_prices.of(Plan(data.plan))
    if price_id is None:
        raise refuse(Code.NOT_AVAILABLE, f"Nobody subscribes to the plan {data.plan} here. GET /v1/plans lists others.")
    keys = await stripe_keys(request, principal.account_id)
    payer = await begin(services, principal.account_id)
    async with asking_stripe():
        current = await _subscription(stripe, payer)
        subscriptions = stripe.gateway.subscriptions
        if current.price_id == price_id:
            await subscriptions.keep(current.id, key=keys.of(f"keep {current.id}"))
        else:
            assert current.item_id is not None, "a subscription is to a price"
            key = keys.of(f"change {current.id} {price_id}")
            await subscriptions.change_price(current.id, item_id=current.item_id, price_id=price_id, key=key)
    return await _follow(services, stripe, current.customer_id, principal.account_id, actor)


@post("/v1/billing/cancel", status_code=200, access=WRITE, weight=weights.REACH_OUT, tags=_TAGS)
async def cancel_plan(
    request: Request[Any, Any, Any], services: Services, principal: Principal, actor: Actor
) -> BillingView:
    """End the subscription with the period that is paid; until then nothing changes."""
    principal.require_current()
    stripe = require_stripe(services)
    keys = await stripe_keys(request, principal.account_id)
    payer = await begin(services, principal.account_id)
    async with asking_stripe():
        current = await _subscription(stripe, payer)
        await stripe.gateway.subscriptions.cancel_at_period_end(current.id, key=keys.of(f"cancel {current.id}"))
    return await _follow(services, stripe, current.customer_id, principal.account_id, actor)


@post("/v1/billing/pause", status_code=200, access=WRITE, tags=_TAGS)
async def pause(services: Services, principal: Principal, actor: Actor) -> BillingView:
    """Refuse all casts with 402 `spend_paused` from now on, whatever would pay for them. Works without Stripe."""
    return await _set_paused(services, principal, actor, paused=True)


@post("/v1/billing/resume", status_code=200, access=WRITE, tags=_TAGS)
async def resume(services: Services, principal: Principal, actor: Actor) -> BillingView:
    """Accept casts again."""
    return await _set_paused(services, principal, actor, paused=False)


async def _set_paused(services: Services, principal: Principal, actor: Actor, *, paused: bool) -> BillingView:
    account_id = principal.account_id
    async with transaction(services.engine_pool) as connection:
        await pause_spending(connection, account_id=account_id, paused=paused, actor=actor, now=services.now())
    return await billing_view(services, account_id)


async def _replace_page(
    services: Services, stripe: StripeAccess, keys: StripeKeys, account_id: UUID, session_id: str
) -> None:
    """Make this the one page that is open to subscribe: nobody pays in two tabs."""
    async with transaction(services.engine_pool) as connection:
        before = await keep_checkout(connection, account_id=account_id, session_id=session_id)
    if before is None:
        return
    async with asking_stripe():
        try:
            await stripe.gateway.checkout.expire(before, key=keys.of(f"expire {before}"))
        except StripeRefused:
            # It has ended by itself, which is well, or somebody has just paid there.
            if (await stripe.gateway.checkout.retrieve(before)).status != "complete":
                return
            await stripe.gateway.checkout.expire(session_id, key=keys.of(f"expire {session_id}"))
            raise refuse(
                Code.CONFLICT, "The page opened before was paid just now. GET /v1/billing shows the plan in a moment."
            ) from None


async def _subscription(stripe: StripeAccess, payer: Payer) -> Subscription:
    """Return the subscription there is to change, as Stripe has it now. Raises RefusedError (conflict)."""
    customer_id = payer.billing.stripe_customer_id
    found = () if customer_id is None else await stripe.gateway.subscriptions.of_customer(customer_id)
    current = best(found)
    if current is None or current.status in {"canceled", "incomplete", "incomplete_expired"}:
        raise refuse(
            Code.CONFLICT, "This account has no subscription. POST /v1/billing/checkout opens the page for one."
        )
    return current


async def _follow(
    services: Services, stripe: StripeAccess, customer_id: str, account_id: UUID, actor: Actor
) -> BillingView:
    """Apply at once what was changed, as the scheduler would when Stripe tells of it."""
    async with transaction(services.engine_pool) as connection:
        asked_at = await identity.instant_read(connection)
    async with asking_stripe():
        found = await stripe.gateway.subscriptions.of_customer(customer_id)
    async with transaction(services.engine_pool) as connection:
        await follow_subscriptions(
            connection,
            customer_id=customer_id,
            found=found,
            prices=services.plan_prices,
            grace=stripe.settings.grace,
            asked_at=asked_at,
            actor=actor,
        )
    return await billing_view(services, account_id)


def _url_of(session: CheckoutSession) -> str:
    if session.url is None:
        detail = "The page of this Idempotency-Key has ended. Use a new key to open another."
        raise refuse(Code.CONFLICT, detail)
    return session.url


ROUTES: Final = [
    list_plans,
    show_billing,
    open_checkout,
    open_portal,
    change_plan,
    cancel_plan,
    pause,
    resume,
]
