"""Invoices, as the API makes and changes them."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from local.stripe import collection
from local.stripe.answers import listing, page_of
from local.stripe.api import CURRENCY, DAY_S
from local.stripe.catalog import currency_of
from local.stripe.customers import living, usable_method
from local.stripe.errors import StripeError, declined, refuse
from local.stripe.invoice_items import check_draft, pending_items
from local.stripe.invoice_lines import PENDING, add_item_line, lines_of, shown_lines, summed
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

_METHOD: Final = one_of("charge_automatically", "send_invoice")
_FIELDS: Final[Mapping[str, Field]] = {
    "auto_advance": BOOLEAN,
    "automatic_tax": {"enabled": BOOLEAN},
    "collection_method": _METHOD,
    "custom_fields": ListOf({"name": TEXT, "value": TEXT}),
    "days_until_due": INTEGER,
    "default_payment_method": TEXT,
    "description": TEXT,
    "due_date": INTEGER,
    "effective_at": INTEGER,
    "footer": TEXT,
    "metadata": METADATA,
    "number": TEXT,
    "statement_descriptor": TEXT,
}
CREATE: Final = Shape(
    "InvoiceCreateParams",
    {
        **_FIELDS,
        "currency": TEXT,
        "customer": TEXT,
        "pending_invoice_items_behavior": one_of("exclude", "include"),
        "subscription": TEXT,
    },
    ("customer",),
)
UPDATE: Final = Shape("InvoiceUpdateParams", _FIELDS)
RETRIEVE: Final = plain("InvoiceRetrieveParams")
LIST: Final = listed(
    "InvoiceListParams",
    collection_method=_METHOD,
    created=RANGE,
    customer=TEXT,
    status=one_of("draft", "open", "paid", "uncollectible", "void"),
    subscription=TEXT,
)
LINES: Final = listed("InvoiceListLinesParams")
DELETE: Final = Shape("InvoiceDeleteParams", {}, expands=False)
FINALIZE: Final = Shape("InvoiceFinalizeInvoiceParams", {"auto_advance": BOOLEAN})
PAY: Final = Shape("InvoicePayParams", {"off_session": BOOLEAN, "paid_out_of_band": BOOLEAN, "payment_method": TEXT})
VOID: Final = plain("InvoiceVoidInvoiceParams")
MARK_UNCOLLECTIBLE: Final = plain("InvoiceMarkUncollectibleParams")
SEND: Final = plain("InvoiceSendInvoiceParams")
LIST_PAYMENTS: Final = listed(
    "InvoicePaymentListParams",
    created=RANGE,
    invoice=TEXT,
    payment={"payment_intent": TEXT, "type": one_of("payment_intent")},
    status=one_of("open", "paid", "canceled"),
)
RETRIEVE_PAYMENT: Final = plain("InvoicePaymentRetrieveParams")


def create(world: World, params: Params) -> Body:
    """Make a draft; pending items come along only when the request says so."""
    customer = living(world, params["customer"], "customer")
    if params.get("currency"):
        currency_of(params)
    if params.get("default_payment_method"):
        usable_method(world, params["default_payment_method"], "default_payment_method")
    subscription = params.get("subscription")
    if subscription:
        world.get("subscription", subscription, "subscription")
    _check_due(params, params.get("collection_method") or "charge_automatically")
    body = new_invoice(world, customer, reason="manual", subscription=subscription)
    _change(world, body, params)
    if params.get("pending_invoice_items_behavior") == "include":
        take_pending(world, body)
    summed(world, body)
    world.tell("invoice.created", body)
    return body


def new_invoice(world: World, customer: Body, *, reason: str, subscription: str | None = None) -> Body:
    """Make an empty draft that nobody has been told of yet."""
    identifier = world.new_id("in")
    sums = (
        *("amount_due", "amount_overpaid", "amount_paid", "amount_paid_off_stripe", "amount_remaining"),
        *("amount_shipping", "attempt_count", "post_payment_credit_notes_amount", "pre_payment_credit_notes_amount"),
        *("starting_balance", "subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax"),
    )
    unset = (
        *("account_tax_ids", "application", "automatically_finalizes_at", "custom_fields", "default_payment_method"),
        *("default_source", "description", "due_date", "effective_at", "ending_balance", "footer", "from_invoice"),
        *("hosted_invoice_url", "invoice_pdf", "last_finalization_error", "latest_revision", "next_payment_attempt"),
        *("number", "on_behalf_of", "receipt_number", "rendering", "shipping_cost", "shipping_details"),
        *("statement_descriptor", "test_clock", "threshold_reason", "webhooks_delivered_at"),
    )
    details: Body = {"metadata": {}, "subscription": subscription}
    body: Body = {
        "id": identifier,
        "object": "invoice",
        **dict.fromkeys(sums, 0),
        **dict.fromkeys(unset),
        "account_country": "US",
        "account_name": "Spell Platform",
        "attempted": False,
        "auto_advance": False,
        "automatic_tax": _tax(enabled=False),
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "created": world.now,
        "currency": CURRENCY,
        "customer": customer["id"],
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": None,
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [],
        "default_tax_rates": [],
        "discounts": [],
        "issuer": {"type": "self"},
        "lines": shown_lines(identifier, []),
        "livemode": False,
        "metadata": {},
        "parent": {"quote_details": None, "subscription_details": details, "type": "subscription_details"}
        if subscription
        else None,
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": world.now,
        "period_start": world.now,
        "status": "draft",
        "status_transitions": dict.fromkeys(("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")),
        "total_discount_amounts": [],
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "_subscription": subscription,
        "_intent": None,
        "_ending_balance": 0,
    }
    return world.insert(body)


def take_pending(world: World, invoice: Body) -> None:
    """Put the customer's pending items on a draft."""
    for item in pending_items(world, invoice["customer"], invoice["_subscription"]):
        world.update(item, invoice=invoice["id"])
        add_item_line(world, invoice, item, PENDING)


def update(world: World, params: Params, identifier: str) -> Body:
    """Change a draft; of a final invoice only what may still change."""
    body = world.get("invoice", identifier)
    late = {"auto_advance", "default_payment_method", "description", "expand", "metadata"}
    if set(params) - late:
        check_draft(body)
    if body["status"] in {"paid", "void"} and set(params) - {"metadata", "expand"}:
        refuse(f"This invoice is {body['status']} and can no longer be changed.", code="invoice_not_editable")
    if params.get("default_payment_method"):
        usable_method(world, params["default_payment_method"], "default_payment_method")
    _check_due(params, params.get("collection_method") or body["collection_method"])
    before = dict(body)
    _change(world, body, params)
    if body["status"] == "draft":
        summed(world, body)
    world.tell_changes("invoice.updated", body, before)
    return body


def finalize(world: World, params: Params, identifier: str) -> Body:
    """Make a draft final."""
    body = world.get("invoice", identifier)
    advance = params.get("auto_advance")
    return collection.finalize(world, body, auto_advance=bool(body["auto_advance"] if advance is None else advance))


def pay(world: World, params: Params, identifier: str) -> Body:
    """Pay an invoice now. Raises StripeError for a card that is refused."""
    body = world.get("invoice", identifier)
    if body["status"] == "draft":
        collection.finalize(world, body, auto_advance=False)
    if body["status"] == "paid":
        refuse("Invoice is already paid")
    if body["status"] == "void":
        refuse("This invoice is void and can no longer be paid.")
    if params.get("paid_out_of_band"):
        return collection.paid(world, body, body["amount_remaining"], off_stripe=True)
    chosen = params.get("payment_method")
    method = usable_method(world, chosen, "payment_method") if chosen else collection.method_for(world, body)
    error = collection.attempt(world, body, method, automatic=False)
    if error is None:
        return body
    if error["type"] == "card_error":
        raise declined(error)
    raise StripeError(HTTPStatus.BAD_REQUEST, error["type"], error["message"], code=error["code"], keeps_work=True)


def void(world: World, _params: Params, identifier: str) -> Body:
    """Declare an invoice void: nothing is owed, the number stays."""
    body = world.get("invoice", identifier)
    if body["status"] not in {"open", "uncollectible"}:
        refuse(f"You can only pass in open invoices. This invoice isn't open: it is {body['status']}.")
    collection.stop(world, body)
    transitions = {**body["status_transitions"], "voided_at": world.now}
    world.update(body, status="void", amount_remaining=0, status_transitions=transitions)
    world.tell("invoice.voided", body)
    return body


def mark_uncollectible(world: World, _params: Params, identifier: str) -> Body:
    """Write an invoice off; it can still be paid."""
    body = world.get("invoice", identifier)
    if body["status"] != "open":
        refuse(f"You can only pass in open invoices. This invoice isn't open: it is {body['status']}.")
    world.store.remove_jobs(collection.COLLECT, identifier)
    transitions = {**body["status_transitions"], "marked_uncollectible_at": world.now}
    changes = {"auto_advance": False, "next_payment_attempt": None, "status_transitions": transitions}
    world.update(body, status="uncollectible", **changes)
    world.tell("invoice.marked_uncollectible", body)
    return body


def send(world: World, _params: Params, identifier: str) -> Body:
    """Mail an invoice; a draft becomes final by it."""
    body = world.get("invoice", identifier)
    if body["collection_method"] != "send_invoice":
        refuse("You can only manually send an invoice if its collection method is 'send_invoice'.")
    if body["status"] == "draft":
        collection.finalize(world, body, auto_advance=bool(body["auto_advance"]))
    world.tell("invoice.sent", body)
    return body


def delete(world: World, _params: Params, identifier: str) -> Body:
    """Delete a draft; items made for it go with it, those it took along are pending again."""
    body = world.get("invoice", identifier)
    check_draft(body)
    if body["_subscription"] is not None:
        refuse("You can't delete invoices created by subscriptions: void it once it is final.")
    for line in lines_of(world, identifier):
        item = world.find("invoiceitem", line["_item"])
        world.store.delete(line["id"])
        if item is not None and line["_rank"] == PENDING:
            world.update(item, invoice=None)
        elif item is not None:
            world.store.delete(item["id"])
    world.tell("invoice.deleted", body)
    world.store.delete(identifier)
    return {"id": identifier, "object": "invoice", "deleted": True}


def retrieve(world: World, _params: Params, identifier: str) -> Body:
    """Return an invoice."""
    return world.get("invoice", identifier)


def list_all(world: World, params: Params) -> Body:
    """Return invoices, newest first."""
    customer, subscription = params.get("customer"), params.get("subscription")
    asked = {name: params[name] for name in ("collection_method", "status", "customer") if params.get(name)}
    found = (
        body
        for body in world.all("invoice", owner=customer, parent=None if customer else subscription)
        if all(body[name] == value for name, value in asked.items()) and subscription in (None, body["_subscription"])
    )
    return page_of(found, params, "/v1/invoices")


def list_lines(world: World, params: Params, identifier: str) -> Body:
    """Return the lines of an invoice."""
    world.get("invoice", identifier)
    return page_of(lines_of(world, identifier), params, f"/v1/invoices/{identifier}/lines")


def list_payments(world: World, params: Params) -> Body:
    """Return what invoices were or will be paid by."""
    intent, status = part(params, "payment").get("payment_intent"), params.get("status")
    found = (
        body
        for body in world.all("invoice_payment", parent=params.get("invoice"))
        if intent in (None, body["payment"]["payment_intent"]) and status in (None, body["status"])
    )
    return page_of(found, params, "/v1/invoice_payments")


def retrieve_payment(world: World, _params: Params, identifier: str) -> Body:
    """Return what an invoice is paid by."""
    return world.get("invoice_payment", identifier)


def payments_of(world: World, invoice: Body) -> Body:
    """Return an invoice's payments, as `expand` shows them."""
    payments = list(world.all("invoice_payment", parent=invoice["id"]))
    return listing("/v1/invoice_payments", payments)


def confirmation_of(world: World, invoice: Body) -> Body | None:
    """Return the secret a browser pays an invoice with, as `expand` shows it."""
    intent = world.find("payment_intent", invoice["_intent"])
    return None if intent is None else {"client_secret": intent["client_secret"], "type": "payment_intent"}


def _change(world: World, body: Body, params: Params) -> None:
    """Write down what a request says; a draft that advances by itself becomes final in an hour."""
    for name, value in params.items():
        match name:
            case "metadata":
                body["metadata"] = merged_metadata(body["metadata"], params)
            case "automatic_tax":
                body["automatic_tax"] = _tax(enabled=bool(part(params, name).get("enabled")))
            case "days_until_due":
                body["due_date"] = None if value is None else world.now + value * DAY_S
            case "currency" | "customer" | "expand" | "pending_invoice_items_behavior" | "subscription":
                pass
            case _:
                body[name] = value
    if "auto_advance" in params:
        _advance(world, body)
    world.update(body)


def _advance(world: World, body: Body) -> None:
    at = world.now
    if body["status"] == "draft":
        world.store.remove_jobs(collection.FINALIZE, body["id"])
        body["automatically_finalizes_at"] = at + collection.DRAFT_S if body["auto_advance"] else None
        if body["auto_advance"]:
            world.later(at + collection.DRAFT_S, collection.FINALIZE, body["id"])
    elif body["status"] == "open":
        world.store.remove_jobs(collection.COLLECT, body["id"])
        body["next_payment_attempt"] = at if body["auto_advance"] else None
        if body["auto_advance"] and body["collection_method"] == "charge_automatically":
            world.later(at, collection.COLLECT, body["id"])


def _check_due(params: Params, method: str) -> None:
    dated = params.get("days_until_due") is not None or params.get("due_date") is not None
    if dated and method != "send_invoice":
        name = "days_until_due" if params.get("days_until_due") is not None else "due_date"
        refuse("You can only set a due date on invoices with `collection_method=send_invoice`.", param=name)


def _tax(*, enabled: bool) -> dict[str, Any]:
    """Return what an invoice says of automatic tax, which here is always nothing."""
    status = "complete" if enabled else None
    liability = {"type": "self"} if enabled else None
    provider = "stripe" if enabled else None
    return {"disabled_reason": None, "enabled": enabled, "liability": liability, "provider": provider, "status": status}
