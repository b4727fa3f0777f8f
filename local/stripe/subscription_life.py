"""The life of a subscription: its first invoice, each new period, its end."""

from typing import Final

from local.stripe import collection, following
from local.stripe.answers import visible
from local.stripe.invoice_lines import add_subscription_line, summed
from local.stripe.invoices import new_invoice, take_pending
from local.stripe.periods import border
from local.stripe.shapes import Params, part
from local.stripe.store import Body
from local.stripe.subscription_items import items_of, new_item, replace_items
from local.stripe.world import World

RENEW: Final = "renew_subscription"
RESUME: Final = "resume_subscription"
GIVE_UP: Final = "give_up_subscription"
# A first invoice that stays unpaid ends its subscription after 23 hours.
INCOMPLETE_S: Final = 23 * 3_600


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
    set_period(body)
    world.insert(body)
    world.later(ends_at(body), RENEW, identifier)
    return body


def first_invoice(world: World, body: Body, customer: Body) -> Body:
    """Make the first invoice, final and open; when there is nothing to pay the subscription is active."""
    invoice = draft_of_period(world, body, customer, "subscription_create")
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
    set_period(body)
    world.update(body)
    world.later(ends_at(body), RENEW, identifier)
    invoice = draft_of_period(world, body, world.known("customer", body["customer"]), "subscription_cycle")
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


def resume(world: World, identifier: str) -> None:
    """Collect again, when the time has come that the pause said."""
    body = world.known("subscription", identifier)
    if body["pause_collection"] is not None and body["status"] != "canceled":
        before = dict(body)
        world.update(body, pause_collection=None)
        world.tell_changes("customer.subscription.updated", body, before)


def draft_of_period(world: World, body: Body, customer: Body, reason: str) -> Body:
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


def invoice_now(world: World, body: Body, reason: str) -> Body:
    """Make an invoice of what is pending."""
    customer = world.known("customer", body["customer"])
    invoice = new_invoice(world, customer, reason=reason, subscription=body["id"])
    take_pending(world, invoice)
    summed(world, invoice)
    world.tell("invoice.created", invoice)
    world.update(body, latest_invoice=invoice["id"])
    return collection.finalize(world, invoice, auto_advance=False)


def interval_of(body: Body) -> tuple[str, int]:
    """Return how long a period is: a word and how many of it."""
    recurring = body["items"]["data"][0]["price"]["recurring"]
    return recurring["interval"], recurring["interval_count"]


def _border(body: Body, number: int) -> int:
    """Return where a period begins, counted from the one that goes on."""
    return border(body["billing_cycle_anchor"], *interval_of(body), body["_periods"] - 1 + number)


def ends_at(body: Body) -> int:
    """Return when the period that goes on ends."""
    return _border(body, 1)


def set_period(body: Body) -> None:
    """Write the period that goes on into the items."""
    for item in body["items"]["data"]:
        item |= {"current_period_start": _border(body, 0), "current_period_end": ends_at(body)}
