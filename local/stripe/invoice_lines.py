"""The lines of an invoice, and the sums that follow from them."""

from typing import Any, Final

from local.stripe.answers import listing
from local.stripe.api import CHARGE_CENTS_MIN, LINES_SHOWN
from local.stripe.shapes import part
from local.stripe.store import Body
from local.stripe.world import World

# How Stripe sorts lines: items that were pending and then those of the subscription, each the newest first, and at last
# what was added to the draft, in order.
PENDING: Final = 1
OF_SUBSCRIPTION: Final = 2
ADDED: Final = 3
LINES_MAX: Final = 250


def lines_of(world: World, invoice_id: str) -> list[Body]:
    """Return all lines of an invoice, sorted as Stripe sorts them."""
    newest_first = list(world.all("line_item", owner=invoice_id))
    added = [line for line in newest_first if line["_rank"] == ADDED]
    others = sorted((line for line in newest_first if line["_rank"] != ADDED), key=lambda line: line["_rank"])
    return [*others, *reversed(added)]


def add_item_line(world: World, invoice: Body, item: Body, rank: int) -> None:
    """Put an invoice item on an invoice."""
    subscription = part(item, "parent").get("subscription_details", {}).get("subscription")
    parent = {
        "invoice_item_details": {
            "invoice_item": item["id"],
            "proration": item["proration"],
            "proration_details": {"credited_items": None},
            "subscription": subscription,
        },
        "subscription_item_details": None,
        "type": "invoice_item_details",
    }
    line = _line(world, invoice, item, parent=parent, subscription=subscription)
    world.insert({**line, "_rank": rank, "_item": item["id"]})


def add_subscription_line(world: World, invoice: Body, item: Body, *, start: int, end: int) -> None:
    """Put a period of a subscription's item on an invoice."""
    price = item["price"]
    amount = price["unit_amount"] * item["quantity"]
    product = world.known("product", price["product"])
    words: dict[str, Any] = {
        "amount": amount,
        "currency": price["currency"],
        "description": f"{item['quantity']} × {product['name']} (at ${amount // 100}.{amount % 100:02d})",  # noqa: RUF001  # as Stripe writes it
        "discountable": True,
        "metadata": {},
        "period": {"start": start, "end": end},
        "pricing": pricing_of(price),
        "quantity": item["quantity"],
    }
    parent = {
        "invoice_item_details": None,
        "subscription_item_details": {
            "invoice_item": None,
            "proration": False,
            "proration_details": {"credited_items": None},
            "subscription": item["subscription"],
            "subscription_item": item["id"],
        },
        "type": "subscription_item_details",
    }
    line = _line(world, invoice, words, parent=parent, subscription=item["subscription"])
    world.insert({**line, "_rank": OF_SUBSCRIPTION, "_item": None})


def line_of_item(world: World, item: Body) -> Body:
    """Return the line that an attached invoice item is."""
    lines = world.all("line_item", owner=item["invoice"])
    return next(line for line in lines if line["_item"] == item["id"])


def pricing_of(price: Body) -> Body:
    """Return what a line says of a price."""
    return {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": price["unit_amount_decimal"],
    }


def summed(world: World, invoice: Body) -> Body:
    """Make the sums of a draft follow from its lines and the customer's balance, and keep it."""
    lines = lines_of(world, invoice["id"])
    total = sum(line["amount"] for line in lines)
    balance = world.known("customer", invoice["customer"]).get("balance", 0)
    due, ending = owed(total, balance, invoice["collection_method"])
    return world.update(
        invoice,
        lines={**shown_lines(invoice["id"], lines)},
        subtotal=total,
        subtotal_excluding_tax=total,
        total=total,
        total_excluding_tax=total,
        amount_due=due,
        amount_remaining=due,
        starting_balance=balance,
        _ending_balance=ending,
    )


def shown_lines(invoice_id: str, lines: list[Body]) -> Body:
    """Return the first lines, as an invoice shows them."""
    has_more = len(lines) > LINES_SHOWN
    return listing(f"/v1/invoices/{invoice_id}/lines", lines[:LINES_SHOWN], has_more=has_more)


def owed(total_cents: int, balance_cents: int, collection_method: str) -> tuple[int, int]:
    """Return what is to be paid of a total, and the customer's balance after it; a negative balance is credit.

    What is too little to charge goes onto the balance, and the next invoice takes it along.
    """
    together = total_cents + balance_cents
    too_little = together < CHARGE_CENTS_MIN and collection_method == "charge_automatically"
    if together <= 0 or too_little:
        return 0, together
    return together, 0


def _line(world: World, invoice: Body, of: Body, *, parent: Body, subscription: str | None) -> Body:
    return {
        "id": world.new_id("il"),
        "object": "line_item",
        "amount": of["amount"],
        "currency": of["currency"],
        "description": of["description"],
        "discount_amounts": [],
        "discountable": of["discountable"],
        "discounts": [],
        "invoice": invoice["id"],
        "livemode": False,
        "metadata": of["metadata"],
        "parent": parent,
        "period": of["period"],
        "pretax_credit_amounts": [],
        "pricing": of["pricing"],
        "quantity": of["quantity"],
        "quantity_decimal": str(of["quantity"]),
        "subscription": subscription,
        "subtotal": of["amount"],
        "taxes": [],
    }
