"""Refunds: money that goes back, whole or in part."""

from typing import Final

from local.stripe import balance
from local.stripe.answers import page_of
from local.stripe.errors import refuse, refuse_without
from local.stripe.shapes import INTEGER, METADATA, RANGE, TEXT, Params, Shape, listed, one_of, plain
from local.stripe.store import Body
from local.stripe.world import World, merged_metadata, reworded

CREATE: Final = Shape(
    "RefundCreateParams",
    {
        "amount": INTEGER,
        "charge": TEXT,
        "metadata": METADATA,
        "payment_intent": TEXT,
        "reason": one_of("duplicate", "fraudulent", "requested_by_customer"),
    },
)
UPDATE: Final = Shape("RefundModifyParams", {"metadata": METADATA})
RETRIEVE: Final = plain("RefundRetrieveParams")
LIST: Final = listed("RefundListParams", charge=TEXT, created=RANGE, payment_intent=TEXT)


def create(world: World, params: Params) -> Body:
    """Send money back to where it came from."""
    charge = _charge_of(world, params)
    left = charge["amount"] - charge["amount_refunded"]
    if charge["status"] != "succeeded":
        refuse(f"Charge {charge['id']} is {charge['status']}: only a paid one can be refunded.", param="charge")
    if left == 0:
        message = f"Charge {charge['id']} has already been refunded."
        refuse(message, code="charge_already_refunded")
    if charge["disputed"]:
        refuse(f"The charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed")
    amount = left if params.get("amount") is None else params["amount"]
    if amount < 1:
        refuse("Invalid positive integer", code="parameter_invalid_integer", param="amount")
    if amount > left:
        refuse(
            f"Refund amount (${_dollars(amount)}) is greater than unrefunded amount on charge (${_dollars(left)})",
            code="amount_too_large",
            param="amount",
        )
    return refund(world, charge, amount, params.get("reason"), merged_metadata(None, params))


def refund(world: World, charge: Body, amount_cents: int, reason: str | None, metadata: dict[str, str]) -> Body:
    """Book a refund of a charge that has that much left."""
    identifier = world.new_id("re" if charge["id"].startswith("ch_") else "pyr")
    body: Body = {
        "id": identifier,
        "object": "refund",
        "amount": amount_cents,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": world.now,
        "currency": charge["currency"],
        "destination_details": {
            "card": {
                "reference": None,
                "reference_status": "pending",
                "reference_type": "acquirer_reference_number",
                "type": "refund",
            },
            "type": "card",
        },
        "metadata": metadata,
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }
    kind = "refund" if identifier.startswith("re_") else "payment_refund"
    body["balance_transaction"] = balance.book(world, kind, -amount_cents, identifier)
    world.insert(body)
    refunded = charge["amount_refunded"] + amount_cents
    before = dict(charge)
    world.update(charge, amount_refunded=refunded, refunded=refunded == charge["amount"])
    world.tell("refund.created", body)
    world.tell_changes("charge.refunded", charge, before)
    return body


def fail(world: World, body: Body, *, reason: str) -> Body:
    """Hear from the bank that it could not take the money back to the customer: it is the platform's again."""
    if body["status"] != "succeeded":
        refuse(f"This refund is {body['status']}.")
    charge = world.known("charge", body["charge"])
    kind = "refund_failure" if body["id"].startswith("re_") else "payment_failure_refund"
    booked = balance.book(world, kind, body["amount"], body["id"])
    world.update(body, status="failed", failure_reason=reason, failure_balance_transaction=booked)
    before = dict(charge)
    world.update(charge, amount_refunded=charge["amount_refunded"] - body["amount"], refunded=False)
    world.tell("refund.failed", body)
    world.tell_changes("charge.updated", charge, before)
    return body


def update(world: World, params: Params, identifier: str) -> Body:
    """Change a refund's metadata."""
    return reworded(world, "refund", identifier, params)


def retrieve(world: World, _params: Params, identifier: str) -> Body:
    """Return a refund."""
    return world.get("refund", identifier)


def list_all(world: World, params: Params) -> Body:
    """Return refunds, newest first."""
    intent = params.get("payment_intent")
    found = (
        body for body in world.all("refund", parent=params.get("charge")) if intent in (None, body["payment_intent"])
    )
    return page_of(found, params, "/v1/refunds")


def _charge_of(world: World, params: Params) -> Body:
    if params.get("charge"):
        return world.get("charge", params["charge"], "charge")
    if not params.get("payment_intent"):
        refuse_without("payment_intent")
    intent = world.get("payment_intent", params["payment_intent"], "payment_intent")
    if intent["latest_charge"] is None:
        message = f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
        refuse(message, param="payment_intent")
    return world.known("charge", intent["latest_charge"])


def _dollars(amount_cents: int) -> str:
    return f"{amount_cents // 100}.{amount_cents % 100:02d}"
