"""Customers, and the cards and bank accounts they have saved."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from local.stripe import following
from local.stripe.answers import listing, page_of
from local.stripe.errors import StripeError, declined, invalid, refuse
from local.stripe.shapes import (
    INTEGER,
    METADATA,
    RANGE,
    TEXT,
    Field,
    Params,
    Shape,
    listed,
    one_of,
    part,
    plain,
)
from local.stripe.store import Body
from local.stripe.world import World, merged_metadata

ADDRESS: Final[Mapping[str, Field]] = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"), TEXT)
_TAX_EXEMPT: Final = one_of("exempt", "none", "reverse")
_FIELDS: Final[Mapping[str, Field]] = {
    "address": ADDRESS,
    "balance": INTEGER,
    "description": TEXT,
    "email": TEXT,
    "invoice_prefix": TEXT,
    "invoice_settings": {"default_payment_method": TEXT, "footer": TEXT},
    "metadata": METADATA,
    "name": TEXT,
    "next_invoice_sequence": INTEGER,
    "phone": TEXT,
    "shipping": {"address": ADDRESS, "name": TEXT, "phone": TEXT},
    "tax_exempt": _TAX_EXEMPT,
}
CREATE: Final = Shape("CustomerCreateParams", {**_FIELDS, "payment_method": TEXT})
UPDATE: Final = Shape("CustomerModifyParams", _FIELDS)
RETRIEVE: Final = plain("CustomerRetrieveParams")
LIST: Final = listed("CustomerListParams", created=RANGE, email=TEXT)
DELETE: Final = Shape("CustomerDeleteParams", {}, expands=False)
_METHOD_TYPE: Final = one_of("card", "us_bank_account")
LIST_METHODS: Final = listed("PaymentMethodListParams", customer=TEXT, type=_METHOD_TYPE)
LIST_OWN_METHODS: Final = listed("CustomerListPaymentMethodsParams", type=_METHOD_TYPE)
RETRIEVE_METHOD: Final = plain("PaymentMethodRetrieveParams")
CREATE_METHOD: Final = Shape(
    "PaymentMethodCreateParams",
    {
        "type": _METHOD_TYPE,
        "card": {"token": TEXT},
        "billing_details": {"email": TEXT, "name": TEXT},
        "metadata": METADATA,
    },
    ("type",),
)
ATTACH_METHOD: Final = Shape("PaymentMethodAttachParams", {"customer": TEXT}, ("customer",))
DETACH_METHOD: Final = plain("PaymentMethodDetachParams")


class _Trial(NamedTuple):
    """One of the payment methods that Stripe keeps for tests, under an id of its own."""

    kind: str
    brand: str
    last4: str
    outcome: str
    """What a payment with it comes to: ok, authenticate, dispute, debit_ok, debit_fail, or a decline code."""


TRIAL_METHODS: Final[Mapping[str, _Trial]] = {
    "pm_card_visa": _Trial("card", "visa", "4242", "ok"),
    "pm_card_mastercard": _Trial("card", "mastercard", "4444", "ok"),
    "pm_card_bypassPending": _Trial("card", "visa", "0077", "bypass"),
    "pm_card_chargeDeclined": _Trial("card", "visa", "0002", "generic_decline"),
    "pm_card_chargeCustomerFail": _Trial("card", "visa", "0341", "generic_decline"),
    "pm_card_chargeDeclinedInsufficientFunds": _Trial("card", "visa", "9995", "insufficient_funds"),
    "pm_card_authenticationRequired": _Trial("card", "visa", "3184", "authenticate"),
    "pm_card_createDispute": _Trial("card", "visa", "0259", "dispute"),
    "pm_usBankAccount_success": _Trial("us_bank_account", "STRIPE TEST BANK", "6789", "debit_ok"),
    "pm_usBankAccount_insufficientFunds": _Trial("us_bank_account", "STRIPE TEST BANK", "2227", "debit_fail"),
}
# These cards are declined at once when somebody tries to save them.
_NOT_SAVED: Final = frozenset({"pm_card_chargeDeclined", "pm_card_chargeDeclinedInsufficientFunds"})
_TOKENS: Final[Mapping[str, str]] = {
    "tok_visa": "pm_card_visa",
    "tok_mastercard": "pm_card_mastercard",
    "tok_bypassPending": "pm_card_bypassPending",
    "tok_chargeDeclined": "pm_card_chargeDeclined",
    "tok_chargeCustomerFail": "pm_card_chargeCustomerFail",
    "tok_createDispute": "pm_card_createDispute",
}


def create(world: World, params: Params) -> Body:
    """Make a customer; a payment method given with it is attached."""
    body: Body = {
        "id": world.new_id("cus"),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": world.now,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "email": None,
        "invoice_prefix": world.new_id("x")[2:10].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }
    world.insert(body)
    if params.get("payment_method"):
        attach(world, {"customer": body["id"]}, params["payment_method"])
    _change(world, body, params)
    world.update(body)
    world.tell("customer.created", body)
    return body


def update(world: World, params: Params, identifier: str) -> Body:
    """Change what is named; the rest stays."""
    body = living(world, identifier)
    before = _frozen(body)
    _change(world, body, params)
    world.update(body)
    world.tell_changes("customer.updated", body, before)
    return body


def retrieve(world: World, _params: Params, identifier: str) -> Body:
    """Return a customer, or what is left of one that was deleted."""
    return world.get("customer", identifier)


def delete(world: World, _params: Params, identifier: str) -> Body:
    """Delete a customer for good: subscriptions end, cards go, the id stays known."""
    body = living(world, identifier)
    for subscription in world.all("subscription", owner=identifier):
        following.end_if_alive(world, subscription, reason="cancellation_requested")
    world.tell("customer.deleted", body)
    for method in world.all("payment_method", owner=identifier):
        world.update(method, customer=None)
    world.store.update({"id": identifier, "object": "customer", "deleted": True})
    return {"id": identifier, "object": "customer", "deleted": True}


def list_all(world: World, params: Params) -> Body:
    """Return customers, newest first; by address of mail, which is compared exactly."""
    email = params.get("email")
    alive = (body for body in world.all("customer") if not body.get("deleted"))
    return page_of((body for body in alive if email in (None, body["email"])), params, "/v1/customers")


def living(world: World, identifier: str, param: str = "id") -> Body:
    """Return a customer that was not deleted. Raises StripeError."""
    body = world.get("customer", identifier, param)
    if body.get("deleted"):
        refuse(f"No such customer: '{identifier}'", code="resource_missing", param=param)
    return body


def subscriptions_of(world: World, customer: Body) -> Body:
    """Return a customer's subscriptions, as `expand` shows them."""
    active = [each for each in world.all("subscription", owner=customer["id"]) if each["status"] != "canceled"]
    return listing(f"/v1/customers/{customer['id']}/subscriptions", active)


def create_method(world: World, params: Params) -> Body:
    """Make a card out of one of the tokens for tests, which is all that a server may send."""
    token = part(params, "card").get("token")
    if token not in _TOKENS:
        refuse(
            "Sending credit card numbers directly to the Stripe API is generally unsafe: use one of the tokens "
            f"{', '.join(sorted(_TOKENS))}.",
            param="card",
        )
    details = part(params, "billing_details")
    return new_method(world, _TOKENS[token], email=details.get("email"), name=details.get("name"))


def attach(world: World, params: Params, identifier: str) -> Body:
    """Save a payment method for a customer."""
    customer = living(world, params["customer"], "customer")
    if identifier in _NOT_SAVED:
        raise declined(refusal_of(TRIAL_METHODS[identifier].outcome))
    body = usable_method(world, identifier, "payment_method")
    if body["customer"] not in (None, customer["id"]):
        refuse("This payment method has already been attached to a customer.", param="payment_method")
    if body["customer"] is None:
        world.update(body, customer=customer["id"])
        world.tell("payment_method.attached", body)
    return body


def detach(world: World, _params: Params, identifier: str) -> Body:
    """Take a payment method from its customer; it can never be used again."""
    body = world.get("payment_method", identifier)
    if body["customer"] is None:
        refuse("The payment method you provided is not attached to a customer so detachment is impossible.")
    customer = world.known("customer", body["customer"])
    settings = customer["invoice_settings"]
    if settings["default_payment_method"] == identifier:
        world.update(customer, invoice_settings={**settings, "default_payment_method": None})
    world.update(body, customer=None, _spent=True)
    world.tell("payment_method.detached", body, previous={"customer": customer["id"]})
    return body


def retrieve_method(world: World, _params: Params, identifier: str) -> Body:
    """Return a payment method."""
    return world.get("payment_method", identifier)


def list_methods(world: World, params: Params, customer: str | None = None) -> Body:
    """Return the payment methods of a customer, newest first."""
    owner = customer or params.get("customer")
    url = f"/v1/customers/{customer}/payment_methods" if customer else "/v1/payment_methods"
    if owner is None:
        return page_of([], params, url)
    living(world, owner, "id" if customer else "customer")
    kind = params.get("type")
    found = (body for body in world.all("payment_method", owner=owner) if kind in (None, body["type"]))
    return page_of(found, params, url)


def usable_method(world: World, identifier: str, param: str) -> Body:
    """Return a payment method to pay with; an id for tests stands for a fresh one. Raises StripeError."""
    if identifier in TRIAL_METHODS:
        return new_method(world, identifier)
    body = world.get("payment_method", identifier, param)
    if body.get("_spent"):
        refuse(
            "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, shared "
            "with a connected account without Customer attachment, or was detached from a Customer. It may not be "
            "used again.",
            param=param,
        )
    return body


def new_method(world: World, trial: str, *, email: str | None = None, name: str | None = None) -> Body:
    """Make a payment method that behaves as one of those for tests."""
    kind, brand, last4, outcome = TRIAL_METHODS[trial]
    body: Body = {
        "id": world.new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {
            "address": dict.fromkeys(ADDRESS),
            "email": email,
            "name": name,
            "phone": None,
            "tax_id": None,
        },
        "created": world.now,
        "customer": None,
        "livemode": False,
        "metadata": {},
        "type": kind,
        kind: _card(brand, last4) if kind == "card" else _bank_account(brand, last4),
        "_outcome": outcome,
    }
    return world.insert(body)


def refusal_of(outcome: str) -> dict[str, Any]:
    """Return what a payment's `last_payment_error` says of a card that was refused."""
    if outcome == "authenticate":
        message = "Your card was declined. This transaction requires authentication."
        code, decline_code = "authentication_required", "authentication_required"
    elif outcome == "debit_fail":
        message = "The customer's account has insufficient funds to cover this payment."
        return {"message": message, "type": "card_error", "code": "payment_method_customer_decline"}
    else:
        message = "Your card has insufficient funds." if outcome == "insufficient_funds" else "Your card was declined."
        code, decline_code = "card_declined", outcome
    return {"message": message, "type": "card_error", "code": code, "decline_code": decline_code}


def _change(world: World, body: Body, params: Params) -> None:
    for name, value in params.items():
        match name:
            case "metadata":
                body["metadata"] = merged_metadata(body["metadata"], params)
            case "address":
                body["address"] = None if value is None else {**dict.fromkeys(ADDRESS), **value}
            case "shipping":
                address = None if value is None else {**dict.fromkeys(ADDRESS), **part(value, "address")}
                body["shipping"] = value and {"name": None, "phone": None, **value, "address": address}
            case "invoice_settings":
                default = part(params, name).get("default_payment_method")
                if default is not None:
                    _check_default(world, body, default)
                body["invoice_settings"] = {**body["invoice_settings"], **part(params, name)}
            case "payment_method" | "expand":
                pass
            case _:
                body[name] = value


def _check_default(world: World, customer: Body, identifier: str) -> None:
    param = "invoice_settings[default_payment_method]"
    if world.get("payment_method", identifier, param)["customer"] != customer["id"]:
        raise _not_attached(identifier, param)


def _not_attached(identifier: str, param: str) -> StripeError:
    message = (
        f"The customer does not have a payment method with the ID {identifier}. The payment method must be attached to "
        "the customer."
    )
    return invalid(message, code="resource_missing", param=param)


def _frozen(body: Body) -> Body:
    return {**body, "invoice_settings": dict(body["invoice_settings"]), "metadata": dict(body["metadata"])}


def _card(brand: str, last4: str) -> Body:
    return {
        "brand": brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": "US",
        "display_brand": brand,
        "exp_month": 12,
        "exp_year": 2039,
        "fingerprint": f"standin{last4}",
        "funding": "credit",
        "generated_from": None,
        "last4": last4,
        "networks": {"available": [brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }


def _bank_account(bank: str, last4: str) -> Body:
    return {
        "account_holder_type": "individual",
        "account_type": "checking",
        "bank_name": bank,
        "financial_connections_account": None,
        "fingerprint": f"standin{last4}",
        "last4": last4,
        "networks": {"preferred": "ach", "supported": ["ach"]},
        "routing_number": "110000000",
        "status_details": {},
    }
