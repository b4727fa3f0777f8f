"""Subscriptions, as the API makes, changes and ends them."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from local.stripe import collection, following
from local.stripe.answers import page_of, visible
from local.stripe.customers import living, usable_method
from local.stripe.errors import StripeError, declined, refuse, refuse_unknown, refuse_without
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
from local.stripe.subscription_items import change_items, credit_unused, items_of
from local.stripe.subscription_life import (
    RENEW,
    RESUME,
    draft_of_period,
    ends_at,
    first_invoice,
    interval_of,
    invoice_now,
    new_subscription,
    set_period,
)
from local.stripe.world import World, merged_metadata

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
        _pause(world, body, params["pause_collection"])
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
        invoice_now(world, body, "manual")
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
    interval = interval_of(body)
    changed = change_items(world, body, params.get("items") or [], prorates=behavior != "none", at=at)
    if part(params, "billing_cycle_anchor").get("type") == "now" or interval_of(body) != interval:
        if behavior != "none":
            credit_unused(world, body, [item for item in items_of(body) if item["id"] not in changed], at)
        world.store.remove_jobs(RENEW, body["id"])
        body |= {"billing_cycle_anchor": world.now, "_periods": 1}
        set_period(body)
        world.update(body)
        world.later(ends_at(body), RENEW, body["id"])
        _pay_now(
            world,
            body,
            draft_of_period(world, body, world.known("customer", body["customer"]), "subscription_update"),
            params,
        )
    elif behavior == "always_invoice":
        _pay_now(world, body, invoice_now(world, body, "subscription_update"), params)


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


def _pause(world: World, body: Body, asked: Params | None) -> None:
    world.store.remove_jobs(RESUME, body["id"])
    if asked is not None and not asked.get("behavior"):
        refuse_without("pause_collection[behavior]")
    body["pause_collection"] = None if asked is None else {"resumes_at": None, **asked}
    if asked is not None and asked.get("resumes_at"):
        world.later(asked["resumes_at"], RESUME, body["id"])


def _cancel_at_end(world: World, body: Body, *, wanted: bool) -> None:
    if wanted == body["cancel_at_period_end"]:
        return
    body["cancel_at_period_end"] = wanted
    body["cancel_at"] = ends_at(body) if wanted else None
    body["canceled_at"] = world.now if wanted else None
    body["cancellation_details"]["reason"] = "cancellation_requested" if wanted else None
