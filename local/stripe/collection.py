"""What becomes of an invoice: made final, collected, tried again, paid, given up."""

from typing import Any, Final

from local.stripe import following, intents
from local.stripe.api import CURRENCY, DAY_S, HOUR_S
from local.stripe.errors import refuse
from local.stripe.invoice_lines import summed
from local.stripe.shapes import part
from local.stripe.store import Body
from local.stripe.world import World

FINALIZE: Final = "finalize_invoice"
COLLECT: Final = "collect_invoice"
# A draft that advances by itself can be changed for about an hour.
DRAFT_S: Final = HOUR_S
# How long after a failed attempt the next one comes. After the last the invoice stays open and nobody tries again.
RETRY_AFTER_S: Final = (3 * DAY_S, 5 * DAY_S, 7 * DAY_S)


def finalize(world: World, invoice: Body, *, auto_advance: bool) -> Body:
    """Make a draft final. Only with `auto_advance` does Stripe then collect it, about at once."""
    if invoice["status"] != "draft":
        message = "This invoice is already finalized, you can't re-finalize a non-draft invoice."
        refuse(message, code="invoice_not_editable")
    customer = world.known("customer", invoice["customer"])
    if customer.get("deleted"):
        refuse(f"The customer {customer['id']} was deleted: its drafts can no longer be finalized.")
    summed(world, invoice)
    number = customer["next_invoice_sequence"]
    ending = invoice["_ending_balance"]
    changes = {"currency": CURRENCY, "balance": ending, "next_invoice_sequence": number + 1}
    world.update(customer, **changes)
    page = f"{world.url}/invoices/{invoice['id']}"
    world.update(
        invoice,
        status="open",
        auto_advance=auto_advance,
        automatically_finalizes_at=None,
        number=invoice["number"] or f"{customer['invoice_prefix']}-{number:04d}",
        effective_at=invoice["effective_at"] or world.now,
        ending_balance=ending,
        hosted_invoice_url=page,
        invoice_pdf=f"{page}/pdf",
        customer_email=customer["email"],
        customer_name=customer["name"],
        customer_address=customer["address"],
        status_transitions={**invoice["status_transitions"], "finalized_at": world.now},
        webhooks_delivered_at=world.now,
    )
    world.store.remove_jobs(FINALIZE, invoice["id"])
    if invoice["amount_due"] == 0:
        world.update(invoice, auto_advance=False)
        world.tell("invoice.finalized", invoice)
        return paid(world, invoice, 0)
    _make_payment(world, invoice)
    collects = auto_advance and invoice["collection_method"] == "charge_automatically"
    world.update(invoice, next_payment_attempt=world.now if collects else None)
    world.tell("invoice.finalized", invoice)
    if collects:
        world.later(world.now, COLLECT, invoice["id"])
    return invoice


def finalize_later(world: World, invoice_id: str) -> None:
    """Make a draft final whose time has come, if it still is one that advances by itself."""
    invoice = world.find("invoice", invoice_id)
    if invoice is None or invoice["status"] != "draft" or invoice["automatically_finalizes_at"] is None:
        return
    if not world.known("customer", invoice["customer"]).get("deleted"):
        finalize(world, invoice, auto_advance=True)


def collect(world: World, invoice_id: str) -> None:
    """Try to take the money for an invoice that advances by itself."""
    invoice = world.find("invoice", invoice_id)
    if invoice is not None and invoice["status"] == "open" and invoice["auto_advance"]:
        attempt(world, invoice, method_for(world, invoice), automatic=True)


def method_for(world: World, invoice: Body) -> Body | None:
    """Return what an invoice is paid with: its own, its subscription's or its customer's choice, or None."""
    subscription = world.find("subscription", invoice["_subscription"])
    customer = world.known("customer", invoice["customer"])
    choices: tuple[str | None, ...] = (
        invoice["default_payment_method"],
        None if subscription is None else subscription["default_payment_method"],
        part(customer, "invoice_settings").get("default_payment_method"),
    )
    return next((method for choice in choices if (method := world.find("payment_method", choice)) is not None), None)


def attempt(world: World, invoice: Body, method: Body | None, *, automatic: bool) -> dict[str, Any] | None:
    """Try to pay an open invoice; return the error of a refusal, or None."""
    first = not invoice["attempted"]
    count = invoice["attempt_count"] + (1 if automatic or first else 0)
    world.update(invoice, attempted=True, attempt_count=count)
    if method is None:
        _failed(world, invoice, automatic=automatic)
        return {
            "type": "invalid_request_error",
            "code": "resource_missing",
            "message": "This customer has no attached payment source or default payment method. Please consider adding "
            "a default payment method.",
        }
    intent = world.known("payment_intent", invoice["_intent"])
    if intent["status"] == "processing":
        return None
    error = intents.attempt(world, intent, method, off_session=True)
    if error is not None:
        _failed(world, invoice, automatic=automatic)
    elif intent["status"] == "succeeded":
        paid(world, invoice, invoice["amount_remaining"])
    else:
        world.update(invoice, next_payment_attempt=None)
    return error


def settled(world: World, invoice: Body, *, succeeded: bool) -> None:
    """Hear from the bank about a debit."""
    if invoice["status"] not in {"open", "uncollectible"}:
        return
    if succeeded:
        paid(world, invoice, invoice["amount_remaining"])
    else:
        _failed(world, invoice, automatic=bool(invoice["auto_advance"]))


def paid(world: World, invoice: Body, amount_cents: int, *, off_stripe: bool = False) -> Body:
    """Close an invoice as paid."""
    world.update(
        invoice,
        status="paid",
        attempted=True,
        amount_paid=invoice["amount_paid"] + amount_cents,
        amount_paid_off_stripe=amount_cents if off_stripe else 0,
        amount_remaining=0,
        auto_advance=False,
        next_payment_attempt=None,
        status_transitions={**invoice["status_transitions"], "paid_at": world.now},
    )
    world.store.remove_jobs(COLLECT, invoice["id"])
    payment = next(world.all("invoice_payment", parent=invoice["id"]), None)
    if payment is not None and not off_stripe:
        transitions = {**payment["status_transitions"], "paid_at": world.now}
        world.update(payment, status="paid", amount_paid=amount_cents, status_transitions=transitions)
        world.tell("invoice_payment.paid", payment)
    world.tell("invoice.paid", invoice)
    world.tell("invoice.payment_succeeded", invoice)
    following.after_paid(world, invoice)
    return invoice


def stop(world: World, invoice: Body) -> None:
    """Give up what was planned for an invoice, and its intent."""
    world.store.remove_jobs(COLLECT, invoice["id"])
    world.update(invoice, auto_advance=False, next_payment_attempt=None)
    intent = world.find("payment_intent", invoice["_intent"])
    if intent is not None and intent["status"].startswith("requires_"):
        intents.cancel(world, {"cancellation_reason": None}, intent["id"])
        world.update(intent, status="canceled", cancellation_reason="void_invoice")
        payment = next(world.all("invoice_payment", parent=invoice["id"]))
        transitions = {**payment["status_transitions"], "canceled_at": world.now}
        world.update(payment, status="canceled", status_transitions=transitions)


def _failed(world: World, invoice: Body, *, automatic: bool) -> None:
    """Plan the next attempt, or give up when there were enough."""
    tried = int(invoice["attempt_count"])
    last = not automatic or tried > len(RETRY_AFTER_S)
    if automatic:
        _plan(world, invoice, None if last else world.now + RETRY_AFTER_S[tried - 1])
    world.tell("invoice.payment_failed", invoice)
    following.after_failed(world, invoice)
    if automatic and last:
        following.after_given_up(world, invoice)


def _plan(world: World, invoice: Body, at: int | None) -> None:
    world.update(invoice, next_payment_attempt=at)
    if at is not None:
        world.later(at, COLLECT, invoice["id"])


def _make_payment(world: World, invoice: Body) -> None:
    """Make the intent that an open invoice is paid by, and what ties both."""
    intent = intents.new_intent(world, invoice["amount_due"], invoice["customer"], metadata={})
    words = invoice["description"] or f"Payment for Invoice {invoice['number']}"
    world.update(intent, description=words, setup_future_usage="off_session", _invoice=invoice["id"])
    world.tell("payment_intent.created", intent)
    world.insert(
        {
            "id": world.new_id("inpay"),
            "object": "invoice_payment",
            "amount_paid": None,
            "amount_requested": invoice["amount_due"],
            "created": world.now,
            "currency": CURRENCY,
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": False,
            "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
            "status": "open",
            "status_transitions": {"canceled_at": None, "paid_at": None},
        }
    )
    world.update(invoice, _intent=intent["id"])
