"""How a subscription follows its invoices: paid, not paid, given up."""

from typing import Final

from local.stripe.store import Body
from local.stripe.world import World

_DEAD: Final = frozenset({"canceled", "incomplete_expired"})


def after_paid(world: World, invoice: Body) -> None:
    """Bring a subscription to life, or back to it."""
    _set_delinquent(world, invoice, delinquent=False)
    body = world.find("subscription", invoice["_subscription"])
    if body is None or body["status"] not in {"incomplete", "past_due", "unpaid"}:
        return
    before = dict(body)
    world.update(body, status="active")
    world.tell_changes("customer.subscription.updated", body, before)


def after_failed(world: World, invoice: Body) -> None:
    """Mark a subscription whose renewal was not paid."""
    _set_delinquent(world, invoice, delinquent=True)
    body = world.find("subscription", invoice["_subscription"])
    if body is None or body["status"] != "active":
        return
    before = dict(body)
    world.update(body, status="past_due")
    world.tell_changes("customer.subscription.updated", body, before)


def after_given_up(world: World, invoice: Body) -> None:
    """End a subscription whose invoice was never paid, as Stripe does unless it is told otherwise."""
    body = world.find("subscription", invoice["_subscription"])
    if body is not None:
        end_if_alive(world, body, reason="payment_failed")


def end_if_alive(world: World, body: Body, *, reason: str) -> None:
    """End a subscription now, unless it has ended."""
    if body["status"] not in _DEAD:
        end(world, body, reason=reason)


def end(world: World, body: Body, *, reason: str, status: str = "canceled") -> Body:
    """End a subscription now."""
    details = {**body["cancellation_details"], "reason": reason}
    canceled_at = body["canceled_at"] or world.now
    world.update(body, status=status, ended_at=world.now, canceled_at=canceled_at, cancellation_details=details)
    world.store.remove_jobs("renew_subscription", body["id"])
    event = "customer.subscription.deleted" if status == "canceled" else "customer.subscription.updated"
    world.tell(event, body, previous=None if status == "canceled" else {"status": "incomplete"})
    return body


def _set_delinquent(world: World, invoice: Body, *, delinquent: bool) -> None:
    customer = world.known("customer", invoice["customer"])
    if not customer.get("deleted") and customer["delinquent"] != delinquent:
        before = dict(customer)
        world.update(customer, delinquent=delinquent)
        world.tell_changes("customer.updated", customer, before)
