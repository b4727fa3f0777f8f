"""Buying a package: the order is written first, then Stripe is asked for a page to pay it, and the credits come after.

No transaction is open while Stripe is asked. Whoever repeats the call under its Idempotency-Key gets the same page,
also when the first call died between the two: Stripe's key is the order's own.
"""

from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from litestar import Request, Response, post

from api import weights
from api.auth import Principal
from api.billing.asking import asking_stripe
from api.billing.customer import as_customer, begin
from api.billing.off import require_stripe
from api.creation import REPLAYED, idempotent_call
from api.credits.routes import TAGS, WRITE, both
from api.credits.views import CheckoutBody, CheckoutView, package_view
from api.errors import invalid
from api.services import Services
from domain.flow.order_credits import CreatedOrder, NewOrder, order_credits, record_checkout
from domain.model.audit import Actor
from domain.model.credits import Order
from domain.model.errors import Fault, RefusedError
from domain.model.stripe_objects import CheckoutSession
from domain.model.stripe_purchase import ORDER_MARK
from domain.store.connection import transaction
from gateways.stripe.client import StripeGateway
from gateways.stripe.errors import StripeUnknown

# Stripe keeps a 500 for a day under the key it answered; each costs one request more.
EPOCHS_MAX: Final = 5
_PAID: Final = "/account?credits=paid"
_LEFT: Final = "/account?credits=left"


@post(both("/checkout"), status_code=201, access=WRITE, weight=weights.REACH_OUT, tags=TAGS)
async def buy_credits(
    request: Request[Any, Any, Any], services: Services, principal: Principal, actor: Actor, data: CheckoutBody
) -> Response[CheckoutView]:
    """Order a package, and say where to pay it. Send an Idempotency-Key: one order, however often it is repeated.

    The credits are there when Stripe has the money: after a card at once, after a bank's debit days later.
    """
    stripe = require_stripe(services)
    _check_urls(services, data)
    call = await idempotent_call(request)
    new = NewOrder(id=uuid4(), account_id=principal.account_id, package_id=_package(data))
    async with transaction(services.engine_pool) as connection:
        made = await order_credits(
            connection, new, credit_micros=services.settings.credit_micros, actor=actor, call=call
        )
    order = made.order
    if order.stripe_session is None and order.status == "pending":
        order = await _open_page(services, stripe.gateway, made, data)
    view = CheckoutView(
        order_id=order.id,
        session_id=order.stripe_session,
        checkout_url=order.checkout_url if order.status == "pending" else None,
        package=package_view(made.package, services.settings.credit_micros),
        status=order.status,
    )
    headers = {"location": f"/v1/credits/orders/{order.id}"}
    return Response(view, headers={**headers, **REPLAYED} if made.replayed else headers)


async def _open_page(services: Services, stripe: StripeGateway, made: CreatedOrder, data: CheckoutBody) -> Order:
    """Ask Stripe for the page, and remember it. Raises RefusedError when Stripe refuses or is away."""
    order, package = made.order, made.package
    public = services.settings.public_url

    async def ask(customer_id: str) -> CheckoutSession:
        common: dict[str, Any] = {
            "customer_id": customer_id,
            "reference": str(order.id),
            "metadata": {ORDER_MARK: str(order.id)},
            "success_url": data.success_url or f"{public}{_PAID}",
            "cancel_url": data.cancel_url or f"{public}{_LEFT}",
            "keeps_card": data.save_payment_method,
        }
        failed: StripeUnknown | None = None
        for epoch in range(EPOCHS_MAX):
            key = f"{order.id}:checkout:{customer_id}:{epoch}"
            try:
                if package.stripe_price is not None:
                    return await stripe.checkout.pay(price_id=package.stripe_price, key=key, **common)
                product = f"{package.credits:,} credits ({package.name})"
                return await stripe.checkout.pay_amount(
                    amount_cents=package.price_cents, product=product, key=key, **common
                )
            except StripeUnknown as unknown:
                # A page may have been made that nobody was led to, so that nobody pays it: another does no harm.
                if not unknown.is_replayed:
                    raise
                failed = unknown
        assert failed is not None, "a round answers or fails"
        raise failed

    payer = await begin(services, order.account_id)
    async with asking_stripe():
        session = await as_customer(services, stripe, payer, ask)
    async with transaction(services.engine_pool) as connection:
        return await record_checkout(
            connection,
            account_id=order.account_id,
            order_id=order.id,
            session=session.id,
            checkout_url=session.url,
        )


def _package(data: CheckoutBody) -> str:
    if data.package is not None and data.package_id is not None and data.package != data.package_id:
        fault = Fault(location="package_id", message="it is another than `package`", fix="Send one of the two.")
        raise RefusedError(invalid([fault]))
    package = data.package or data.package_id
    if package is None:
        fault = Fault(
            location="package", message="it is missing", fix="Send the id of one of GET /v1/credits/packages."
        )
        raise RefusedError(invalid([fault]))
    return package


def _check_urls(services: Services, data: CheckoutBody) -> None:
    """Refuse to lead a payer to a page that the operator does not know: a stranger's could look like ours."""
    known = {services.settings.public_url, *services.settings.cors_origins}
    faults = [
        Fault(
            location=name,
            message="it is on another site",
            fix="Use a page of this platform, or of an origin in CORS_ORIGINS.",
        )
        for name, url in (("success_url", data.success_url), ("cancel_url", data.cancel_url))
        if url is not None and _origin(url) not in known
    ]
    if faults:
        raise RefusedError(invalid(faults))


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}"


ROUTES: Final = [buy_credits]
