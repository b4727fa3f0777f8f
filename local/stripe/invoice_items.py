"""Invoice items: what will be, or is, a line of an invoice."""

from collections.abc import Mapping
from typing import Any, Final

from local.stripe.answers import page_of
from local.stripe.api import CURRENCY
from local.stripe.catalog import amount_of, currency_of
from local.stripe.customers import living
from local.stripe.errors import refuse, refuse_without
from local.stripe.invoice_lines import ADDED, LINES_MAX, add_item_line, line_of_item, lines_of, pricing_of, summed
from local.stripe.shapes import (
    BOOLEAN,
    DECIMAL,
    INTEGER,
    METADATA,
    RANGE,
    TEXT,
    Field,
    Params,
    Shape,
    listed,
    part,
    plain,
)
from local.stripe.store import Body
from local.stripe.world import World, merged_metadata

_FIELDS: Final[Mapping[str, Field]] = {
    "amount": INTEGER,
    "description": TEXT,
    "discountable": BOOLEAN,
    "metadata": METADATA,
    "period": {"end": INTEGER, "start": INTEGER},
    "price_data": {"currency": TEXT, "product": TEXT, "unit_amount": INTEGER},
    "pricing": {"price": TEXT},
    "quantity": INTEGER,
    "unit_amount_decimal": DECIMAL,
}
CREATE: Final = Shape(
    "InvoiceItemCreateParams",
    {**_FIELDS, "currency": TEXT, "customer": TEXT, "invoice": TEXT, "subscription": TEXT},
    ("customer",),
)
UPDATE: Final = Shape("InvoiceItemUpdateParams", _FIELDS)
RETRIEVE: Final = plain("InvoiceItemRetrieveParams")
LIST: Final = listed("InvoiceItemListParams", created=RANGE, customer=TEXT, invoice=TEXT, pending=BOOLEAN)
DELETE: Final = Shape("InvoiceItemDeleteParams", {}, expands=False)


def create(world: World, params: Params) -> Body:
    """Make an item: on the draft that is named, else pending until an invoice takes it along."""
    customer = living(world, params["customer"], "customer")
    subscription = params.get("subscription")
    if subscription:
        world.get("subscription", subscription, "subscription")
    invoice = None
    if params.get("invoice"):
        invoice = world.get("invoice", params["invoice"], "invoice")
        check_draft(invoice)
        if invoice["customer"] != customer["id"]:
            refuse("The invoice belongs to another customer.", param="invoice")
        if len(lines_of(world, invoice["id"])) >= LINES_MAX:
            refuse(f"An invoice can have at most {LINES_MAX} invoice items.", param="invoice")
    body = new_item(
        world,
        customer["id"],
        **_priced(world, params),
        description=params.get("description"),
        metadata=merged_metadata(None, params),
        period=_period(params, {"start": world.now, "end": world.now}),
        invoice=None if invoice is None else invoice["id"],
        subscription=subscription,
    )
    if params.get("discountable") is not None:
        world.update(body, discountable=params["discountable"])
    if invoice is not None:
        add_item_line(world, invoice, body, ADDED)
        summed(world, invoice)
    world.tell("invoiceitem.created", body)
    return body


def new_item(
    world: World,
    customer: str,
    *,
    amount: int,
    quantity: int = 1,
    pricing: Body | None = None,
    description: str | None,
    metadata: dict[str, str],
    period: Body,
    invoice: str | None = None,
    subscription: str | None = None,
    subscription_item: str | None = None,
    proration: bool = False,
) -> Body:
    """Make an item that nobody has been told of yet."""
    details = {"subscription": subscription, "subscription_item": subscription_item}
    return world.insert(
        {
            "id": world.new_id("ii"),
            "object": "invoiceitem",
            "amount": amount,
            "currency": CURRENCY,
            "customer": customer,
            "date": world.now,
            "description": description,
            "discountable": amount >= 0 and not proration,
            "discounts": [],
            "invoice": invoice,
            "livemode": False,
            "metadata": metadata,
            "net_amount": amount,
            "parent": {"subscription_details": details, "type": "subscription_details"} if subscription else None,
            "period": period,
            "pricing": pricing,
            "proration": proration,
            "quantity": quantity,
            "quantity_decimal": str(quantity),
            "tax_rates": [],
            "test_clock": None,
        }
    )


def update(world: World, params: Params, identifier: str) -> Body:
    """Change an item that is pending or on a draft."""
    body = world.get("invoiceitem", identifier)
    invoice = _draft_of(world, body)
    if {"amount", "pricing", "price_data", "quantity", "unit_amount_decimal"} & set(params):
        merged = {"amount": body["amount"], "quantity": body["quantity"], "currency": body["currency"], **params}
        if "pricing" in params or "price_data" in params or "unit_amount_decimal" in params:
            del merged["amount"]
        body |= _priced(world, merged)
        body |= {"net_amount": body["amount"], "quantity_decimal": str(body["quantity"])}
    body |= {name: value for name, value in params.items() if name in {"description", "discountable"}}
    body["period"] = _period(params, body["period"])
    world.update(body, metadata=merged_metadata(body["metadata"], params))
    if invoice is not None:
        names = ("amount", "description", "discountable", "metadata", "period", "pricing", "quantity")
        line = line_of_item(world, body)
        world.update(line, **{name: body[name] for name in names}, subtotal=body["amount"])
        summed(world, invoice)
    return body


def delete(world: World, _params: Params, identifier: str) -> Body:
    """Take an item away, from its draft too."""
    body = world.get("invoiceitem", identifier)
    invoice = _draft_of(world, body)
    if invoice is not None:
        world.store.delete(line_of_item(world, body)["id"])
        summed(world, invoice)
    world.tell("invoiceitem.deleted", body)
    world.store.delete(identifier)
    return {"id": identifier, "object": "invoiceitem", "deleted": True}


def retrieve(world: World, _params: Params, identifier: str) -> Body:
    """Return an item."""
    return world.get("invoiceitem", identifier)


def list_all(world: World, params: Params) -> Body:
    """Return items, newest first."""
    customer, invoice, pending = (params.get(name) for name in ("customer", "invoice", "pending"))
    found = (
        body
        for body in world.all("invoiceitem", owner=customer, parent=None if customer else invoice)
        if invoice in (None, body["invoice"]) and pending in (None, body["invoice"] is None)
    )
    return page_of(found, params, "/v1/invoiceitems")


def pending_items(world: World, customer: str, subscription: str | None) -> list[Body]:
    """Return what waits for an invoice, oldest first: of a subscription and of none, or of none alone."""
    found: list[Body] = []
    for body in world.all("invoiceitem", owner=customer):
        of = part(body, "parent").get("subscription_details", {}).get("subscription")
        if body["invoice"] is None and of in (None, subscription):
            found.append(body)
    return found[::-1]


def check_draft(invoice: Body) -> None:
    """Raise StripeError for an invoice that is final."""
    if invoice["status"] != "draft":
        refuse(
            f"The invoice {invoice['id']} is {invoice['status']}: only a draft can be changed so.",
            code="invoice_not_editable",
            param="invoice",
        )


def _draft_of(world: World, item: Body) -> Body | None:
    """Return the draft an item is on, or None while it is pending. Raises StripeError when the invoice is final."""
    if item["invoice"] is None:
        return None
    invoice = world.known("invoice", item["invoice"])
    check_draft(invoice)
    return invoice


def _priced(world: World, params: Params) -> dict[str, Any]:
    """Return amount, quantity and pricing of a request."""
    quantity = 1 if params.get("quantity") is None else params["quantity"]
    if part(params, "pricing").get("price"):
        price = world.get("price", params["pricing"]["price"], "pricing[price]")
        return {"amount": price["unit_amount"] * quantity, "quantity": quantity, "pricing": pricing_of(price)}
    if params.get("price_data"):
        data = params["price_data"]
        for name in ("currency", "product"):
            if not data.get(name):
                refuse_without(f"price_data[{name}]")
        world.get("product", data["product"], "price_data[product]")
        currency_of(data)
        return {"amount": amount_of(data, "price_data") * quantity, "quantity": quantity, "pricing": None}
    if not params.get("currency"):
        refuse_without("currency")
    currency_of(params)
    if params.get("unit_amount_decimal") is not None:
        unit = amount_of({"unit_amount_decimal": params["unit_amount_decimal"]})
        return {"amount": unit * quantity, "quantity": quantity, "pricing": None}
    if params.get("amount") is None:
        refuse_without("amount")
    return {"amount": params["amount"], "quantity": quantity, "pricing": None}


def _period(params: Params, otherwise: Body) -> Body:
    period = params.get("period")
    if period is None:
        return otherwise
    for name in ("end", "start"):
        if period.get(name) is None:
            refuse_without(f"period[{name}]")
    if period["end"] < period["start"]:
        refuse("The end of the period lies before its start.", param="period[end]")
    return {"start": period["start"], "end": period["end"]}
