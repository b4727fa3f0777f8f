"""Subscriptions: items that are invoiced anew in each period."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from local.stripe import collection, following
from local.stripe.answers import page_of, visible
from local.stripe.customers import living, usable_method
from local.stripe.errors import StripeError, declined, refuse, refuse_unknown
from local.stripe.invoice_lines import add_subscription_line, summed
from local.stripe.invoices import new_invoice, take_pending
from local.stripe.periods import border
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
from local.stripe.subscription_items import change_items, credit_unused, items_of, new_item, replace_items
from local.stripe.world import World, merged_metadata

RENEW: Final = "renew_subscription"
GIVE_UP: Final = "give_up_subscription"
# A first invoice that stays unpaid ends its subscription after 23 hours.
INCOMPLETE_S: Final = 23 * 3_600
_PRORATION: Final = one_of("always_invoice", "create_prorations", "none")
_PAYMENT_BEHAVIOR: Final = one_of("allow_incomplete", "default_incomplete", "error_if_incomplete")
CANCELLATION: Final[Mapping[str, Field]] = {
    "comment": TEXT,
    "feedback": one_of(
        *("customer_service", "low_quality", "missing_features", "other"),
        *("switched_service", "too_complex", "too_expensive", "unused"),
    ),
}
_FIELDS: Final[Mapping[str, Field]] = {
    "cancel_at_period_end": BOOLEAN,
    "collection_method": one_of("charge_automatically"),
    "default_payment_method": TEXT,
    "description": TEXT,
    "metadata": METADATA,
    "off_session": BOOLEAN,
    "payment_settings": {"save_default_payment_method": one_of("off", "on_subscription")},
    "proration_behavior": _PRORATION,
}
CREATE: Final = Shape(
    "SubscriptionCreateParams",
    {
        **_FIELDS,
        "currency": TEXT,
        "customer": TEXT,
        "items": ListOf({"metadata": METADATA, "price": TEXT, "quantity": INTEGER}),
        "payment_behavior": _PAYMENT_BEHAVIOR,
    },
    ("customer", "items"),
)
UPDATE: Final = Shape(
    "SubscriptionUpdateParams",
    {
        **_FIELDS,
        "billing_cycle_anchor": {"type": one_of("now", "unchanged")},
        "cancellation_details": CANCELLATION,
        "items": ListOf({"deleted": BOOLEAN, "id": TEXT, "metadata": METADATA, "price": TEXT, "quantity": INTEGER}),
        "pause_collection": {
            "behavior": one_of("keep_as_draft", "mark_uncollectible", "void"),
            "resumes_at": INTEGER,
        },
        "payment_behavior": _PAYMENT_BEHAVIOR,
        "proration_date": INTEGER,
    },
)
CANCEL: Final = Shape(
    "SubscriptionCancelParams",
    {"cancellation_details": CANCELLATION, "invoice_now": BOOLEAN, "prorate": BOOLEAN},
)
RETRIEVE: Final = plain("SubscriptionRetrieveParams")
LIST: Final = listed(
    "SubscriptionListParams",
    created=RANGE,
    customer=TEXT,
    price=TEXT,
    status=one_of(
        *("active", "all", "canceled", "ended", "incomplete", "incomplete_expired"),
        *("past_due", "paused", "trialing", "unpaid"),
    ),
)


def create(world: World, params: Params) -> Body:
    """Start a subscription and try to collect its first invoice. Raises StripeError for a card that is refused."""
    customer = living(world, params["customer"], "customer")
    chosen = params.get("default_payment_method")
    if chosen:
        method = usable_method(world, chosen, "default_payment_method")
        if method["customer"] != customer["id"]:
            refuse_unknown("payment_method", chosen, "default_payment_method")
        chosen = method["id"]
    body = new_subscription(world, customer, params["items"], metadata=merged_metadata(None, params))
    body |= {"default_payment_method": chosen, "description": params.get("description")}
    body["payment_settings"] |= part(params, "payment_settings")
    if params.get("cancel_at_period_end"):
        _cancel_at_end(world, body, wanted=True)
    world.update(body)
    world.tell("customer.subscription.created", body)
    invoice = first_invoice(world, body, customer)
    behavior = params.get("payment_behavior") or "allow_incomplete"
    if invoice["status"] == "open" and behavior != "default_incomplete":
        error = collection.attempt(world, invoice, collection.method_for(world, invoice), automatic=False)
        if error is not None and error["type"] != "card_error":
            message = str(error["message"])
            raise StripeError(HTTPStatus.BAD_REQUEST, error["type"], message, code=str(error["code"]))
        if error is not None and behavior == "error_if_incomplete":
            refusal = declined(error)
            raise StripeError(refusal.status, refusal.kind, str(refusal), code=refusal.code)
    return world.known("subscription", body["id"])


def new_subscription(world: World, customer: Body, items: list[Params], *, metadata: dict[str, str]) -> Body:
    """Make a subscription whose first invoice is still to come; nobody has been told of it yet."""
    identifier = world.new_id("sub")
    body: Body = {
        "id": identifier,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": world.now,
        "billing_cycle_anchor_config": None,
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": world.now,
        "currency": "usd",
        "customer": customer["id"],
        "days_until_due": None,
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": {},
        "latest_invoice": None,
        "livemode": False,
        "metadata": metadata,
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": world.now,
        "status": "incomplete",
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": None,
        "trial_start": None,
        "_periods": 1,
    }
    made = [new_item(world, identifier, asked, f"items[{place}]") for place, asked in enumerate(items)]
    replace_items(body, made)
    _set_period(body)
    world.insert(body)
    world.later(_ends_at(body), RENEW, identifier)
    return body


def first_invoice(world: World, body: Body, customer: Body) -> Body:
    """Make the first invoice, final and open; when there is nothing to pay the subscription is active."""
    invoice = _invoice(world, body, customer, "subscription_create")
    collection.finalize(world, invoice, auto_advance=False)
    if invoice["status"] == "open":
        world.later(world.now + INCOMPLETE_S, GIVE_UP, body["id"])
    return invoice


def renew(world: World, identifier: str) -> None:
    """Begin the next period with a draft that is collected an hour later, or end."""
    body = world.known("subscription", identifier)
    if body["status"] in {"canceled", "incomplete_expired"}:
        return
    if body["cancel_at_period_end"]:
        following.end(world, body, reason="cancellation_requested")
        return
    before = {**body, "items": visible(body["items"])}
    body["_periods"] += 1
    _set_period(body)
    world.update(body)
    world.later(_ends_at(body), RENEW, identifier)
    invoice = _invoice(world, body, world.known("customer", body["customer"]), "subscription_cycle")
    paused = part(body, "pause_collection").get("behavior")
    if paused is None:
        at = world.now + collection.DRAFT_S
        world.update(invoice, auto_advance=True, automatically_finalizes_at=at)
        world.later(at, collection.FINALIZE, invoice["id"])
    elif paused != "keep_as_draft":
        collection.finalize(world, invoice, auto_advance=False)
        if invoice["status"] == "open":
            collection.stop(world, invoice)
            world.update(invoice, status="void" if paused == "void" else "uncollectible")
    world.tell_changes("customer.subscription.updated", body, before)


def give_up(world: World, identifier: str) -> None:
    """End a subscription whose first invoice nobody paid."""
    body = world.known("subscription", identifier)
    if body["status"] != "incomplete":
        return
    invoice = world.known("invoice", body["latest_invoice"])
    if invoice["status"] == "open":
        collection.stop(world, invoice)
        world.update(invoice, status="void", amount_remaining=0)
        world.tell("invoice.voided", invoice)
    following.end(world, body, reason="payment_failed", status="incomplete_expired")


def update(world: World, params: Params, identifier: str) -> Body:
    """Change items, the way of paying, or when it ends."""
    body = world.get("subscription", identifier)
    if body["status"] in {"canceled", "incomplete_expired"} and set(params) - {"metadata", "expand"}:
        refuse("A canceled subscription can only update its cancellation_details and metadata.")
    before = {**body, "items": visible(body["items"])}
    if params.get("default_payment_method"):
        method = usable_method(world, params["default_payment_method"], "default_payment_method")
        body["default_payment_method"] = method["id"]
    if params.get("cancellation_details"):
        body["cancellation_details"] |= params["cancellation_details"]
    if params.get("cancel_at_period_end") is not None:
        _cancel_at_end(world, body, wanted=params["cancel_at_period_end"])
    if "pause_collection" in params:
        paused = params["pause_collection"]
        body["pause_collection"] = paused and {"resumes_at": None, **paused}
    body["payment_settings"] |= part(params, "payment_settings")
    body |= {name: value for name, value in params.items() if name == "description"}
    world.update(body, metadata=merged_metadata(body["metadata"], params))
    if params.get("items") or part(params, "billing_cycle_anchor").get("type") == "now":
        _change_items(world, body, params)
    world.tell_changes("customer.subscription.updated", body, before)
    return body


def cancel(world: World, params: Params, identifier: str) -> Body:
    """End a subscription now."""
    body = world.get("subscription", identifier)
    if body["status"] in {"canceled", "incomplete_expired"}:
        refuse_unknown("subscription", identifier, "id")
    if params.get("cancellation_details"):
        body["cancellation_details"] |= params["cancellation_details"]
    if params.get("prorate"):
        credit_unused(world, body, items_of(body), world.now)
    following.end(world, body, reason="cancellation_requested")
    if params.get("invoice_now"):
        _invoice_now(world, body, "manual")
    return body


def retrieve(world: World, _params: Params, identifier: str) -> Body:
    """Return a subscription."""
    return world.get("subscription", identifier)


def list_all(world: World, params: Params) -> Body:
    """Return subscriptions, newest first; without a status those that were not canceled."""
    status, price = params.get("status"), params.get("price")
    found = (
        body
        for body in world.all("subscription", owner=params.get("customer"))
        if _has_status(body["status"], status)
        and (price is None or price in {item["price"]["id"] for item in body["items"]["data"]})
    )
    return page_of(found, params, "/v1/subscriptions")


def _has_status(status: str, asked: str | None) -> bool:
    ended = {"canceled", "incomplete_expired"}
    match asked:
        case None:
            return status != "canceled"
        case "all":
            return True
        case "ended":
            return status in ended
        case _:
            return status == asked


def _change_items(world: World, body: Body, params: Params) -> None:
    """Change what is subscribed to, with credit for what was paid and not used."""
    behavior = params.get("proration_behavior") or "create_prorations"
    at = params.get("proration_date") or world.now
    interval = _interval(body)
    changed = change_items(world, body, params.get("items") or [], prorates=behavior != "none", at=at)
    if part(params, "billing_cycle_anchor").get("type") == "now" or _interval(body) != interval:
        if behavior != "none":
            credit_unused(world, body, [item for item in items_of(body) if item["id"] not in changed], at)
        world.store.remove_jobs(RENEW, body["id"])
        body |= {"billing_cycle_anchor": world.now, "_periods": 1}
        _set_period(body)
        world.update(body)
        world.later(_ends_at(body), RENEW, body["id"])
        _pay_now(
            world, body, _invoice(world, body, world.known("customer", body["customer"]), "subscription_update"), params
        )
    elif behavior == "always_invoice":
        _pay_now(world, body, _invoice_now(world, body, "subscription_update"), params)


def _pay_now(world: World, body: Body, invoice: Body, params: Params) -> None:
    """Collect the invoice of a change at once. Raises StripeError where the request does not take no for an answer."""
    if invoice["status"] == "draft":
        collection.finalize(world, invoice, auto_advance=False)
    if invoice["status"] == "open":
        world.update(invoice, auto_advance=True)
        error = collection.attempt(world, invoice, collection.method_for(world, invoice), automatic=True)
        if error is not None and params.get("payment_behavior") == "error_if_incomplete":
            raise StripeError(HTTPStatus.PAYMENT_REQUIRED, "card_error", str(error["message"]), code=str(error["code"]))
    body |= world.known("subscription", body["id"])


def _invoice_now(world: World, body: Body, reason: str) -> Body:
    """Make an invoice of what is pending."""
    customer = world.known("customer", body["customer"])
    invoice = new_invoice(world, customer, reason=reason, subscription=body["id"])
    take_pending(world, invoice)
    summed(world, invoice)
    world.tell("invoice.created", invoice)
    world.update(body, latest_invoice=invoice["id"])
    return collection.finalize(world, invoice, auto_advance=False)


def _invoice(world: World, body: Body, customer: Body, reason: str) -> Body:
    """Make the draft of a period, what is pending included."""
    invoice = new_invoice(world, customer, reason=reason, subscription=body["id"])
    for item in items_of(body):
        start, end = item["current_period_start"], item["current_period_end"]
        add_subscription_line(world, invoice, item, start=start, end=end)
    take_pending(world, invoice)
    if reason == "subscription_cycle":
        invoice["period_start"] = _border(body, -1)
    invoice["parent"]["subscription_details"]["metadata"] = body["metadata"]
    summed(world, invoice)
    world.update(body, latest_invoice=invoice["id"])
    world.tell("invoice.created", invoice)
    return invoice


def _cancel_at_end(world: World, body: Body, *, wanted: bool) -> None:
    if wanted == body["cancel_at_period_end"]:
        return
    body["cancel_at_period_end"] = wanted
    body["cancel_at"] = _ends_at(body) if wanted else None
    body["canceled_at"] = world.now if wanted else None
    body["cancellation_details"]["reason"] = "cancellation_requested" if wanted else None


def _interval(body: Body) -> tuple[str, int]:
    recurring = body["items"]["data"][0]["price"]["recurring"]
    return recurring["interval"], recurring["interval_count"]


def _border(body: Body, number: int) -> int:
    """Return where a period begins, counted from the one that goes on."""
    return border(body["billing_cycle_anchor"], *_interval(body), body["_periods"] - 1 + number)


def _ends_at(body: Body) -> int:
    return _border(body, 1)


def _set_period(body: Body) -> None:
    for item in body["items"]["data"]:
        item |= {"current_period_start": _border(body, 0), "current_period_end": _ends_at(body)}
