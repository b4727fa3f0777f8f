"""The items of a subscription, and the credit and charge of a change in the middle of a period."""

from datetime import UTC, datetime
from typing import Final

from local.stripe import invoice_items
from local.stripe.answers import listing, page_of
from local.stripe.errors import refuse, refuse_unknown, refuse_without
from local.stripe.invoice_lines import pricing_of
from local.stripe.periods import prorated
from local.stripe.shapes import TEXT, Params, listed, plain
from local.stripe.store import Body
from local.stripe.world import World, merged_metadata

ITEMS_MAX: Final = 20
LIST: Final = listed("SubscriptionItemListParams", ("subscription",), subscription=TEXT)
RETRIEVE: Final = plain("SubscriptionItemRetrieveParams")


def new_item(world: World, subscription: str, asked: Params, param: str) -> Body:
    """Return an item for a price; the subscription holds it."""
    if not asked.get("price"):
        refuse_without(f"{param}[price]")
    price = _recurring(world, asked["price"], f"{param}[price]")
    quantity = 1 if asked.get("quantity") is None else asked["quantity"]
    return {
        "id": world.new_id("si"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": world.now,
        "current_period_end": 0,
        "current_period_start": 0,
        "discounts": [],
        "metadata": merged_metadata(None, asked),
        "plan": _plan(price),
        "price": price,
        "quantity": quantity,
        "subscription": subscription,
        "tax_rates": [],
    }


def items_of(body: Body) -> list[Body]:
    """Return the items a subscription holds."""
    return list(body["items"]["data"])


def replace_items(body: Body, items: list[Body]) -> None:
    """Have a subscription hold these items. Raises StripeError where they do not go together."""
    if not items or len(items) > ITEMS_MAX:
        refuse(f"A subscription needs between one and {ITEMS_MAX} items with active plans.", param="items")
    intervals = {
        (item["price"]["recurring"]["interval"], item["price"]["recurring"]["interval_count"]) for item in items
    }
    if len(intervals) > 1:
        refuse("All prices on a subscription must have the same `recurring.interval`.", param="items")
    if len({item["price"]["id"] for item in items}) < len(items):
        refuse("Cannot add multiple subscription items with the same plan.", param="items")
    body["items"] = listing(f"/v1/subscription_items?subscription={body['id']}", items)


def change_items(world: World, body: Body, changes: list[Params], *, prorates: bool, at: int) -> set[str]:
    """Change, add and strike out items; return the ids of those that are not as they were."""
    items = items_of(body)
    changed: set[str] = set()
    for place, asked in enumerate(changes):
        param = f"items[{place}]"
        old = next((item for item in items if item["id"] == asked.get("id")), None)
        if asked.get("id") and old is None:
            refuse_unknown("subscription_item", asked["id"], f"{param}[id]")
        new = None if asked.get("deleted") else _changed(world, body, old, asked, param)
        if old is not None and new is not None and not _differs(old, new):
            items[items.index(old)] = new
            continue
        if prorates:
            _prorate(world, body, old, new, at)
        if old is not None:
            items = [each for each in items if each is not old]
        if new is not None:
            items.append(new)
            changed.add(new["id"])
    replace_items(body, items)
    world.update(body)
    return changed


def credit_unused(world: World, body: Body, items: list[Body], at: int) -> None:
    """Give credit for the rest of the period."""
    for item in items:
        _prorate(world, body, item, None, at)


def list_all(world: World, params: Params) -> Body:
    """Return the items of a subscription."""
    body = world.get("subscription", params["subscription"], "subscription")
    return page_of(items_of(body), params, "/v1/subscription_items")


def retrieve(world: World, _params: Params, identifier: str) -> Body:
    """Return an item."""
    for body in world.all("subscription"):
        for item in items_of(body):
            if item["id"] == identifier:
                return item
    return refuse_unknown("subscription_item", identifier, "id")


def _changed(world: World, body: Body, old: Body | None, asked: Params, param: str) -> Body:
    if old is None:
        fresh = new_item(world, body["id"], asked, param)
        first = body["items"]["data"][0]
        return fresh | {name: first[name] for name in ("current_period_start", "current_period_end")}
    price = _recurring(world, asked["price"], f"{param}[price]") if asked.get("price") else old["price"]
    quantity = old["quantity"] if asked.get("quantity") is None else asked["quantity"]
    metadata = merged_metadata(old["metadata"], asked)
    return {**old, "price": price, "plan": _plan(price), "quantity": quantity, "metadata": metadata}


def _differs(old: Body, new: Body) -> bool:
    return (old["price"]["id"], old["quantity"]) != (new["price"]["id"], new["quantity"])


def _prorate(world: World, body: Body, old: Body | None, new: Body | None, at: int) -> None:
    """Make pending items of what the change gives back and costs for the rest of the period."""
    item = old or new
    assert item is not None, "a change is from something or to something"
    start, end = item["current_period_start"], item["current_period_end"]
    at = min(max(at, start), end)
    day = datetime.fromtimestamp(at, UTC).strftime("%d %b %Y")
    same_interval = new is None or old is None or old["price"]["recurring"] == new["price"]["recurring"]
    for each, sign, words in ((old, -1, "Unused time on"), (new if same_interval else None, 1, "Remaining time on")):
        if each is None:
            continue
        product = world.known("product", each["price"]["product"])
        whole = each["price"]["unit_amount"] * each["quantity"]
        quantity = f"{each['quantity']} × " if each["quantity"] > 1 else ""  # noqa: RUF001  # as Stripe writes it
        made = invoice_items.new_item(
            world,
            body["customer"],
            amount=sign * prorated(whole, end - at, end - start),
            quantity=each["quantity"],
            pricing=pricing_of(each["price"]),
            description=f"{words} {quantity}{product['name']} after {day}",
            metadata=each["metadata"],
            period={"start": at, "end": end},
            subscription=body["id"],
            subscription_item=each["id"],
            proration=True,
        )
        world.tell("invoiceitem.created", made)


def _recurring(world: World, identifier: str, param: str) -> Body:
    price = world.get("price", identifier, param)
    if price["type"] != "recurring":
        refuse(
            f"The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`: "
            f"{identifier}.",
            param=param,
        )
    if not price["active"]:
        refuse(f"The price specified is inactive: {identifier}.", param=param)
    return price


def _plan(price: Body) -> Body:
    """Return a price in the form it had in older versions, which items still carry."""
    recurring = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": "per_unit",
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": False,
        "metadata": price["metadata"],
        "meter": None,
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": recurring["usage_type"],
    }
