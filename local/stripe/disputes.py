"""Disputes: a customer's bank takes a payment back until it is decided who is right."""

from typing import Final

from local.stripe import balance
from local.stripe.answers import page_of
from local.stripe.api import DAY_S
from local.stripe.errors import refuse
from local.stripe.shapes import BOOLEAN, METADATA, RANGE, TEXT, Params, Shape, listed, plain
from local.stripe.store import Body
from local.stripe.world import World, merged_metadata

EVIDENCE_DUE_S: Final = 9 * DAY_S
FEE_CENTS: Final = 1500
_OPEN: Final = frozenset({"needs_response", "under_review"})
_EVIDENCE: Final = (
    *("access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure"),
    *("cancellation_rebuttal", "customer_communication", "customer_email_address", "customer_name"),
    *("customer_purchase_ip", "customer_signature", "duplicate_charge_documentation"),
    *("duplicate_charge_explanation", "duplicate_charge_id", "product_description", "receipt", "refund_policy"),
    *("refund_policy_disclosure", "refund_refusal_explanation", "service_date", "service_documentation"),
    *("shipping_address", "shipping_carrier", "shipping_date", "shipping_documentation", "shipping_tracking_number"),
    *("uncategorized_file", "uncategorized_text"),
)
RETRIEVE: Final = plain("DisputeRetrieveParams")
LIST: Final = listed("DisputeListParams", charge=TEXT, created=RANGE, payment_intent=TEXT)
UPDATE: Final = Shape(
    "DisputeModifyParams",
    {
        "evidence": dict.fromkeys(("customer_name", "product_description", "uncategorized_text"), TEXT),
        "metadata": METADATA,
        "submit": BOOLEAN,
    },
)
CLOSE: Final = plain("DisputeCloseParams")


def open_dispute(world: World, charge: Body, *, reason: str, amount_cents: int | None = None) -> Body:
    """Take a charge back, with Stripe's fee for it."""
    if charge["disputed"] or charge["status"] != "succeeded":
        refuse(f"Charge {charge['id']} cannot be disputed: it was not paid, or is disputed already.")
    amount = amount_cents or charge["amount"] - charge["amount_refunded"]
    if not 0 < amount <= charge["amount"] - charge["amount_refunded"]:
        refuse(f"Charge {charge['id']} has no {amount} cents left to dispute.")
    body: Body = {
        "id": world.new_id("du"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": world.now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys(_EVIDENCE), "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": world.now + EVIDENCE_DUE_S,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {
            "card": {"brand": "visa", "case_type": "chargeback", "network": "visa", "network_reason_code": "83"},
            "type": "card",
        },
        "reason": reason,
        "status": "needs_response",
    }
    world.insert(body)
    world.update(charge, disputed=True)
    world.tell("charge.dispute.created", body)
    _book(world, body, -amount, fee_cents=FEE_CENTS)
    world.tell("charge.dispute.funds_withdrawn", body)
    return body


def decide(world: World, body: Body, *, won: bool) -> Body:
    """Close a dispute; when it is won the money comes back, the fee does not."""
    if body["status"] not in _OPEN:
        refuse(f"This dispute is already closed: {body['status']}.")
    world.update(body, status="won" if won else "lost")
    if won:
        _book(world, body, body["amount"])
        world.tell("charge.dispute.funds_reinstated", body)
    world.tell("charge.dispute.closed", body)
    return body


def retrieve(world: World, _params: Params, identifier: str) -> Body:
    """Return a dispute."""
    return world.get("dispute", identifier)


def list_all(world: World, params: Params) -> Body:
    """Return disputes, newest first."""
    intent = params.get("payment_intent")
    found = (
        body for body in world.all("dispute", parent=params.get("charge")) if intent in (None, body["payment_intent"])
    )
    return page_of(found, params, "/v1/disputes")


def update(world: World, params: Params, identifier: str) -> Body:
    """Add evidence."""
    body = world.get("dispute", identifier)
    if body["status"] not in _OPEN:
        refuse("This dispute is already closed.")
    before = {**body, "evidence": dict(body["evidence"]), "evidence_details": dict(body["evidence_details"])}
    if params.get("evidence"):
        body["evidence"] |= params["evidence"]
        body["evidence_details"]["has_evidence"] = True
    if params.get("submit"):
        body["evidence_details"]["submission_count"] += 1
        body["evidence_details"]["submission_method"] = "manual"
        body["status"] = "under_review"
    world.update(body, metadata=merged_metadata(body["metadata"], params))
    world.tell_changes("charge.dispute.updated", body, before)
    return body


def close(world: World, _params: Params, identifier: str) -> Body:
    """Give in."""
    return decide(world, world.get("dispute", identifier), won=False)


def _book(world: World, body: Body, amount_cents: int, *, fee_cents: int = 0) -> None:
    words = "Chargeback withdrawal" if amount_cents < 0 else "Chargeback reversal"
    description = f"{words} for {body['charge']}"
    booked = balance.book(world, "adjustment", amount_cents, body["id"], fee_cents=fee_cents, description=description)
    transactions = [*body["balance_transactions"], world.known("balance_transaction", booked)]
    world.update(body, balance_transactions=transactions)
