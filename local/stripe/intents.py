"""Payment intents: a sum to be taken, by however many attempts it needs."""

from collections.abc import Mapping
from typing import Any, Final

from local.stripe import charges, disputes
from local.stripe.answers import page_of, visible
from local.stripe.api import CHARGE_CENTS_MAX, CHARGE_CENTS_MIN, CURRENCY, DAY_S
from local.stripe.catalog import currency_of
from local.stripe.customers import living, refusal_of, usable_method
from local.stripe.errors import declined, invalid, refuse
from local.stripe.shapes import (
    BOOLEAN,
    INTEGER,
    METADATA,
    RANGE,
    TEXT,
    Field,
    ListOf,
    Params,
    Shape,
    listed,
    one_of,
    part,
    plain,
)
from local.stripe.store import Body
from local.stripe.world import World, merged_metadata

# A bank takes days to say whether a debit is paid.
DEBIT_SETTLES_S: Final = 4 * DAY_S
SETTLE: Final = "settle_debit"
METHOD_TYPES: Final = ("card", "us_bank_account")
FUTURE_USAGE: Final = one_of("off_session", "on_session")
_CANCELABLE: Final = frozenset({"requires_payment_method", "requires_confirmation", "requires_action"})
_FIELDS: Final[Mapping[str, Field]] = {
    "amount": INTEGER,
    "currency": TEXT,
    "customer": TEXT,
    "description": TEXT,
    "metadata": METADATA,
    "payment_method": TEXT,
    "receipt_email": TEXT,
    "setup_future_usage": FUTURE_USAGE,
    "statement_descriptor": TEXT,
    "statement_descriptor_suffix": TEXT,
    "transfer_group": TEXT,
}
CREATE: Final = Shape(
    "PaymentIntentCreateParams",
    {
        **_FIELDS,
        "allowed_payment_method_types": ListOf(one_of(*METHOD_TYPES)),
        "automatic_payment_methods": {"allow_redirects": one_of("always", "never"), "enabled": BOOLEAN},
        "capture_method": one_of("automatic", "automatic_async"),
        "confirm": BOOLEAN,
        "confirmation_method": one_of("automatic"),
        "error_on_requires_action": BOOLEAN,
        "off_session": BOOLEAN,
        "return_url": TEXT,
    },
    ("amount", "currency"),
)
UPDATE: Final = Shape("PaymentIntentModifyParams", _FIELDS)
CONFIRM: Final = Shape(
    "PaymentIntentConfirmParams",
    {
        "error_on_requires_action": BOOLEAN,
        "off_session": BOOLEAN,
        "payment_method": TEXT,
        "receipt_email": TEXT,
        "return_url": TEXT,
        "setup_future_usage": FUTURE_USAGE,
    },
)
CANCEL: Final = Shape(
    "PaymentIntentCancelParams",
    {"cancellation_reason": one_of("abandoned", "duplicate", "fraudulent", "requested_by_customer")},
)
RETRIEVE: Final = plain("PaymentIntentRetrieveParams")
LIST: Final = listed("PaymentIntentListParams", created=RANGE, customer=TEXT)


def create(world: World, params: Params) -> Body:
    """Make an intent, and confirm it where the request says so. Raises StripeError for a card that is refused."""
    if params.get("customer"):
        living(world, params["customer"], "customer")
    currency_of(params)
    chargeable(params["amount"])
    if params.get("off_session") and not params.get("confirm"):
        refuse("You cannot set `off_session` without also setting `confirm` to true.", param="off_session")
    if params.get("confirm"):
        _check_redirects(params)
    body = new_intent(world, params["amount"], params.get("customer"), metadata=merged_metadata(None, params))
    for name in ("description", "receipt_email", "setup_future_usage", "transfer_group"):
        body[name] = params.get(name)
    for name in ("statement_descriptor", "statement_descriptor_suffix"):
        body[name] = params.get(name)
    automatic = part(params, "automatic_payment_methods")
    redirects = automatic.get("allow_redirects") or "always"
    body["automatic_payment_methods"] = {"allow_redirects": redirects, "enabled": True}
    body["payment_method_types"] = params.get("allowed_payment_method_types") or list(METHOD_TYPES)
    if params.get("payment_method"):
        _choose(world, body, params["payment_method"])
    world.update(body)
    world.tell("payment_intent.created", body)
    return _confirmed(world, body, params) if params.get("confirm") else body


def update(world: World, params: Params, identifier: str) -> Body:
    """Change an intent that was not confirmed yet."""
    body = world.get("payment_intent", identifier)
    if body["status"] not in _CANCELABLE and set(params) - {"metadata", "description", "expand"}:
        raise _unexpected(body, "updated")
    if params.get("amount") is not None:
        chargeable(params["amount"])
    if params.get("payment_method"):
        _choose(world, body, params["payment_method"])
    simple = {"amount", "description", "receipt_email", "setup_future_usage", "transfer_group"}
    body |= {name: value for name, value in params.items() if name in simple}
    if params.get("customer"):
        body["customer"] = living(world, params["customer"], "customer")["id"]
    return world.update(body, metadata=merged_metadata(body["metadata"], params))


def confirm(world: World, params: Params, identifier: str) -> Body:
    """Try to take the money. Raises StripeError for a card that is refused."""
    body = world.get("payment_intent", identifier)
    if body["status"] not in _CANCELABLE:
        raise _unexpected(body, "confirmed")
    if params.get("payment_method"):
        _choose(world, body, params["payment_method"])
    return _confirmed(world, body, params)


def cancel(world: World, params: Params, identifier: str) -> Body:
    """Give an intent up."""
    body = world.get("payment_intent", identifier)
    if body["status"] not in _CANCELABLE:
        raise _unexpected(body, "canceled")
    reason = params.get("cancellation_reason")
    world.update(body, status="canceled", canceled_at=world.now, cancellation_reason=reason)
    world.tell("payment_intent.canceled", body)
    return body


def retrieve(world: World, _params: Params, identifier: str) -> Body:
    """Return an intent."""
    return world.get("payment_intent", identifier)


def list_all(world: World, params: Params) -> Body:
    """Return intents, newest first."""
    return page_of(world.all("payment_intent", owner=params.get("customer")), params, "/v1/payment_intents")


def new_intent(world: World, amount_cents: int, customer: str | None, *, metadata: dict[str, str]) -> Body:
    """Make an intent that nobody has been told of yet."""
    identifier = world.new_id("pi")
    return world.insert(
        {
            "id": identifier,
            "object": "payment_intent",
            "amount": amount_cents,
            "amount_capturable": 0,
            "amount_details": {"tip": {}},
            "amount_received": 0,
            "application": None,
            "application_fee_amount": None,
            "automatic_payment_methods": None,
            "canceled_at": None,
            "cancellation_reason": None,
            "capture_method": "automatic_async",
            "client_secret": f"{identifier}_secret_{world.new_id('x')[2:]}",
            "confirmation_method": "automatic",
            "created": world.now,
            "currency": CURRENCY,
            "customer": customer,
            "description": None,
            "last_payment_error": None,
            "latest_charge": None,
            "livemode": False,
            "metadata": metadata,
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": None,
            "payment_method_configuration_details": None,
            "payment_method_options": {},
            "payment_method_types": list(METHOD_TYPES),
            "processing": None,
            "receipt_email": None,
            "review": None,
            "setup_future_usage": None,
            "shipping": None,
            "statement_descriptor": None,
            "statement_descriptor_suffix": None,
            "status": "requires_payment_method",
            "transfer_data": None,
            "transfer_group": None,
        }
    )


def attempt(world: World, body: Body, method: Body, *, off_session: bool) -> dict[str, Any] | None:
    """Try to pay an intent with a method; return the error of a refusal, or None. The intent says how it went."""
    body["payment_method"] = method["id"]
    outcome = method["_outcome"]
    if outcome == "authenticate" and not off_session:
        world.update(body, status="requires_action", next_action={"type": "use_stripe_sdk", "use_stripe_sdk": {}})
        world.tell("payment_intent.requires_action", body)
        return None
    charge = charges.attempt(world, body, method)
    body["latest_charge"] = charge["id"]
    if charge["status"] == "failed":
        return refused(world, body, method, outcome)
    if charge["status"] == "pending":
        world.update(body, status="processing", last_payment_error=None)
        world.tell("payment_intent.processing", body)
        world.later(world.now + DEBIT_SETTLES_S, SETTLE, body["id"])
        return None
    succeeded(world, body)
    if outcome == "dispute":
        disputes.open_dispute(world, charge, reason="fraudulent")
    return None


def succeeded(world: World, body: Body) -> None:
    """Write down that the money came."""
    world.update(body, status="succeeded", amount_received=body["amount"], last_payment_error=None, next_action=None)
    world.tell("payment_intent.succeeded", body)


def refused(world: World, body: Body, method: Body, outcome: str) -> dict[str, Any]:
    """Write down that the money did not come; return why."""
    error = {**refusal_of(outcome), "charge": body["latest_charge"], "payment_method": visible(method)}
    world.update(body, status="requires_payment_method", payment_method=None, last_payment_error=error)
    world.tell("payment_intent.payment_failed", body)
    return error


def chargeable(amount_cents: int) -> None:
    """Raise StripeError for a sum that cannot be charged."""
    if amount_cents < 1:
        refuse("This value must be greater than or equal to 1.", code="parameter_invalid_integer", param="amount")
    if amount_cents < CHARGE_CENTS_MIN:
        refuse("Amount must be at least $0.50 usd", code="amount_too_small", param="amount")
    if amount_cents > CHARGE_CENTS_MAX:
        refuse("Amount must be no more than $999,999.99", code="amount_too_large", param="amount")


def _confirmed(world: World, body: Body, params: Params) -> Body:
    if body["payment_method"] is None:
        refuse(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
            "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a "
            "payment method or ConfirmationToken.",
            code="payment_intent_unexpected_state",
        )
    method = world.known("payment_method", body["payment_method"])
    off_session = bool(params.get("off_session") or params.get("error_on_requires_action"))
    error = attempt(world, body, method, off_session=off_session)
    if error is not None:
        raise declined(error, payment_intent=visible(body))
    usage = params.get("setup_future_usage") or body["setup_future_usage"]
    if usage and body["customer"] and method["customer"] is None:
        world.update(method, customer=body["customer"])
        world.tell("payment_method.attached", method)
    return body


def _choose(world: World, body: Body, identifier: str) -> None:
    method = usable_method(world, identifier, "payment_method")
    if method["customer"] is not None and method["customer"] != body["customer"]:
        refuse(
            "The provided PaymentMethod cannot be attached to this PaymentIntent: it belongs to a Customer; please "
            "include the Customer in the `customer` parameter.",
            param="payment_method",
        )
    body["payment_method"] = method["id"]
    body["status"] = "requires_confirmation"


def _check_redirects(params: Params) -> None:
    automatic = part(params, "automatic_payment_methods")
    may_redirect = automatic.get("allow_redirects", "always") == "always"
    if may_redirect and not (
        params.get("off_session") or params.get("return_url") or params.get("allowed_payment_method_types")
    ):
        refuse(
            "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of "
            "these payment methods might redirect your customer off of your page, you must provide a `return_url`. If "
            "you don't want to accept redirect-based payment methods, set `automatic_payment_methods[enabled]` to "
            "`true` and `automatic_payment_methods[allow_redirects]` to `never` when creating PaymentIntents.",
            param="return_url",
        )


def _unexpected(body: Body, verb: str) -> Exception:
    message = f"This PaymentIntent's status is {body['status']}, so it could not be {verb}."
    return invalid(message, code="payment_intent_unexpected_state", payment_intent=visible(body))
