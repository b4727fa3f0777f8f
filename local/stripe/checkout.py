"""Checkout sessions: a page at Stripe where a customer pays, subscribes or leaves a card."""

from collections.abc import Mapping
from typing import Final

from local.stripe import catalog
from local.stripe.answers import listing, page_of
from local.stripe.api import CHARGE_CENTS_MIN, CURRENCY, DAY_S
from local.stripe.catalog import INTERVAL
from local.stripe.customers import ADDRESS, living
from local.stripe.errors import refuse, refuse_without
from local.stripe.intents import FUTURE_USAGE, METHOD_TYPES
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

EXPIRE: Final = "expire_session"
# A page can be used for a day unless the request says otherwise, for half an hour at least.
LIFE_S: Final = DAY_S
LIFE_S_MIN: Final = 30 * 60
LINE_ITEMS_MAX: Final = 100
_LINE_ITEM: Final[Mapping[str, Field]] = {
    "metadata": METADATA,
    "price": TEXT,
    "price_data": {
        "currency": TEXT,
        "product": TEXT,
        "product_data": {"description": TEXT, "images": ListOf(TEXT), "metadata": METADATA, "name": TEXT},
        "recurring": {"interval": INTERVAL, "interval_count": INTEGER},
        "unit_amount": INTEGER,
    },
    "quantity": INTEGER,
}
CREATE: Final = Shape(
    "checkout.SessionCreateParams",
    {
        "allow_promotion_codes": BOOLEAN,
        "allowed_payment_method_types": ListOf(one_of(*METHOD_TYPES)),
        "automatic_tax": {"enabled": BOOLEAN},
        "billing_address_collection": one_of("auto", "required"),
        "cancel_url": TEXT,
        "client_reference_id": TEXT,
        "currency": TEXT,
        "customer": TEXT,
        "customer_creation": one_of("always", "if_required"),
        "customer_email": TEXT,
        "customer_update": dict.fromkeys(("address", "name", "shipping"), one_of("auto", "never")),
        "expires_at": INTEGER,
        "invoice_creation": {"enabled": BOOLEAN},
        "line_items": ListOf(_LINE_ITEM),
        "locale": TEXT,
        "metadata": METADATA,
        "mode": one_of("payment", "setup", "subscription"),
        "payment_intent_data": {
            "description": TEXT,
            "metadata": METADATA,
            "receipt_email": TEXT,
            "setup_future_usage": FUTURE_USAGE,
            "statement_descriptor_suffix": TEXT,
            "transfer_group": TEXT,
        },
        "payment_method_collection": one_of("always", "if_required"),
        "saved_payment_method_options": {"payment_method_save": one_of("disabled", "enabled")},
        "setup_intent_data": {"description": TEXT, "metadata": METADATA},
        "submit_type": one_of("auto", "book", "donate", "pay", "subscribe"),
        "subscription_data": {"description": TEXT, "metadata": METADATA},
        "success_url": TEXT,
        "tax_id_collection": {"enabled": BOOLEAN},
    },
    ("mode",),
)
UPDATE: Final = Shape("checkout.SessionUpdateParams", {"metadata": METADATA})
RETRIEVE: Final = plain("checkout.SessionRetrieveParams")
LIST: Final = listed(
    "checkout.SessionListParams",
    created=RANGE,
    customer=TEXT,
    payment_intent=TEXT,
    status=one_of("complete", "expired", "open"),
    subscription=TEXT,
)
EXPIRE_NOW: Final = plain("checkout.SessionExpireParams")
LINE_ITEMS: Final = listed("checkout.SessionListLineItemsParams")
_ONE_MODE: Final = {
    "payment_intent_data": "payment",
    "invoice_creation": "payment",
    "customer_creation": "payment",
    "submit_type": "payment",
    "subscription_data": "subscription",
    "payment_method_collection": "subscription",
    "setup_intent_data": "setup",
}


def create(world: World, params: Params) -> Body:
    """Make a session; its `url` is the page."""
    mode = params["mode"]
    _check(world, params, mode)
    customer = living(world, params["customer"], "customer") if params.get("customer") else None
    lines = [_line(world, asked, f"line_items[{place}]") for place, asked in enumerate(params.get("line_items") or [])]
    if mode != "setup" and not lines:
        refuse_without("line_items")
    if mode == "subscription" and not any(line["price"]["type"] == "recurring" for line in lines):
        refuse("You must provide at least one recurring price in `subscription` mode.", param="line_items")
    if mode == "payment" and any(line["price"]["type"] == "recurring" for line in lines):
        message = "You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or "
        refuse(f"{message}use only one-time prices.", param="line_items")
    total = sum(line["amount_total"] for line in lines)
    if mode == "payment" and total < CHARGE_CENTS_MIN:
        refuse("The Checkout Session's total amount due must add up to at least $0.50 usd", code="amount_too_small")
    body = _session(world, params, customer, total if mode != "setup" else None)
    world.insert({**body, "_lines": lines, "_asked": {name: params.get(name) or {} for name in _DATA}})
    world.later(body["expires_at"], EXPIRE, body["id"])
    return world.known("checkout.session", body["id"])


def update(world: World, params: Params, identifier: str) -> Body:
    """Change a session's metadata."""
    body = world.get("checkout.session", identifier)
    return world.update(body, metadata=merged_metadata(body["metadata"], params))


def retrieve(world: World, _params: Params, identifier: str) -> Body:
    """Return a session."""
    return world.get("checkout.session", identifier)


def list_all(world: World, params: Params) -> Body:
    """Return sessions, newest first."""
    customer, intent = params.get("customer"), params.get("payment_intent")
    names = ("customer", "payment_intent", "status", "subscription")
    asked = {name: params[name] for name in names if params.get(name)}
    found = (
        body
        for body in world.all("checkout.session", owner=customer, parent=None if customer else intent)
        if all(body[name] == value for name, value in asked.items())
    )
    return page_of(found, params, "/v1/checkout/sessions")


def list_line_items(world: World, params: Params, identifier: str) -> Body:
    """Return what a session sells."""
    lines = world.get("checkout.session", identifier)["_lines"]
    return page_of(lines, params, f"/v1/checkout/sessions/{identifier}/line_items")


def line_items_of(_world: World, session: Body) -> Body:
    """Return what a session sells, as `expand` shows it."""
    return listing(f"/v1/checkout/sessions/{session['id']}/line_items", session["_lines"])


def expire(world: World, _params: Params, identifier: str) -> Body:
    """Close a session that nobody has used."""
    body = world.get("checkout.session", identifier)
    if body["status"] != "open":
        refuse(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of '
            f"`{body['status']}`.",
        )
    return _expired(world, body)


def expire_later(world: World, identifier: str) -> None:
    """Close a session whose time is over."""
    body = world.known("checkout.session", identifier)
    if body["status"] == "open":
        _expired(world, body)


_DATA: Final = ("payment_intent_data", "subscription_data", "setup_intent_data", "invoice_creation")


def _expired(world: World, body: Body) -> Body:
    world.update(body, status="expired", url=None)
    world.tell("checkout.session.expired", body)
    return body


def _check(world: World, params: Params, mode: str) -> None:
    for name, only in _ONE_MODE.items():
        if params.get(name) is not None and mode != only:
            refuse(f"You can only use `{name}` in `{only}` mode.", param=name)
    if not params.get("success_url"):
        refuse_without("success_url")
    for name in ("success_url", "cancel_url"):
        address = params.get(name)
        if address and not address.startswith(("http://", "https://")):
            refuse("Not a valid URL", code="url_invalid", param=name)
    _check_customer(params)
    until = params.get("expires_at")
    if until is not None and not world.now + LIFE_S_MIN <= until <= world.now + LIFE_S:
        message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation."
        refuse(message, param="expires_at")
    if mode == "setup" and params.get("line_items"):
        refuse("You can not pass `line_items` in `setup` mode.", param="line_items")
    if len(params.get("line_items") or []) > LINE_ITEMS_MAX:
        refuse(f"A session has at most {LINE_ITEMS_MAX} line items.", param="line_items")


def _check_customer(params: Params) -> None:
    if params.get("customer") and params.get("customer_email"):
        refuse("You may only specify one of these parameters: customer, customer_email.")
    if params.get("customer_update") and not params.get("customer"):
        refuse("`customer_update` can only be used with `customer`.", param="customer_update")
    if params.get("customer") and params.get("customer_creation"):
        refuse("You may only specify one of these parameters: customer, customer_creation.")


def _line(world: World, asked: Params, param: str) -> Body:
    if not asked.get("quantity"):
        refuse_without(f"{param}[quantity]")
    if asked.get("price_data"):
        data = asked["price_data"]
        if not data.get("currency"):
            refuse_without(f"{param}[price_data][currency]")
        # A price made for one session is not for sale otherwise.
        price = catalog.create_price(world, data, active=False)
    elif asked.get("price"):
        price = world.get("price", asked["price"], f"{param}[price]")
        if not price["active"]:
            refuse(f"The price specified is inactive: {price['id']}.", param=f"{param}[price]")
    else:
        refuse_without(f"{param}[price]")
    amount = price["unit_amount"] * asked["quantity"]
    return {
        "id": world.new_id("li"),
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": CURRENCY,
        "description": world.known("product", price["product"])["name"],
        "metadata": merged_metadata(None, asked),
        "price": price,
        "quantity": asked["quantity"],
    }


def _session(world: World, params: Params, customer: Body | None, total: int | None) -> Body:
    identifier = world.new_id("cs_test")
    mode = params["mode"]
    unset = (
        *("after_expiration", "client_secret", "collected_information", "consent", "consent_collection"),
        *("currency_conversion", "customer_details", "invoice", "origin_context", "payment_intent"),
        *("payment_link", "payment_method_configuration_details", "permissions", "recovered_from", "setup_intent"),
        *("shipping_address_collection", "shipping_cost", "subscription", "wallet_options"),
    )
    email = params.get("customer_email") or (customer or {}).get("email")
    return {
        "id": identifier,
        "object": "checkout.session",
        **dict.fromkeys(unset),
        "adaptive_pricing": {"enabled": False},
        "allow_promotion_codes": params.get("allow_promotion_codes"),
        "amount_subtotal": total,
        "amount_total": total,
        "automatic_tax": _tax(params),
        "billing_address_collection": params.get("billing_address_collection"),
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "created": world.now,
        "currency": None if total is None else CURRENCY,
        "custom_fields": [],
        "custom_text": dict.fromkeys(("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")),
        "customer": None if customer is None else customer["id"],
        "customer_creation": None
        if customer or mode != "payment"
        else params.get("customer_creation") or "if_required",
        "customer_email": params.get("customer_email"),
        "customer_details": _details(customer, email) if email else None,
        "discounts": [] if mode == "payment" else None,
        "expires_at": params.get("expires_at") or world.now + LIFE_S,
        "invoice_creation": _invoice_creation(params) if mode == "payment" else None,
        "livemode": False,
        "locale": params.get("locale"),
        "metadata": merged_metadata(None, params),
        "mode": mode,
        "payment_method_collection": params.get("payment_method_collection")
        or ("always" if mode == "subscription" else "if_required"),
        "payment_method_options": {},
        "payment_method_types": params.get("allowed_payment_method_types") or list(METHOD_TYPES),
        "payment_status": "no_payment_required" if mode == "setup" else "unpaid",
        "phone_number_collection": {"enabled": False},
        "saved_payment_method_options": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": params.get("submit_type"),
        "success_url": params.get("success_url"),
        "total_details": None if total is None else {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": f"{world.url}/checkout/{identifier}",
    }


def _details(customer: Body | None, email: str) -> Body:
    known = customer or {}
    return {
        "address": known.get("address") and {**dict.fromkeys(ADDRESS), **known["address"]},
        "email": email,
        "name": known.get("name"),
        "phone": known.get("phone"),
        "tax_exempt": "none",
        "tax_ids": [],
    }


def _invoice_creation(params: Params) -> Body:
    names = ("account_tax_ids", "custom_fields", "description", "footer", "issuer", "rendering_options")
    enabled = bool(part(params, "invoice_creation").get("enabled"))
    return {"enabled": enabled, "invoice_data": {**dict.fromkeys(names), "metadata": {}}}


def _tax(params: Params) -> Body:
    enabled = bool(part(params, "automatic_tax").get("enabled"))
    liability, provider = ({"type": "self"}, "stripe") if enabled else (None, None)
    return {"enabled": enabled, "liability": liability, "provider": provider, "status": "complete" if enabled else None}
