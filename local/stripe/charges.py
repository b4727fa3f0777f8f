"""Charges: one for each attempt to take money, and what came of it."""

from typing import Any, Final

from local.stripe import balance
from local.stripe.answers import listing, page_of
from local.stripe.customers import ADDRESS, refusal_of
from local.stripe.shapes import METADATA, RANGE, TEXT, Params, Shape, listed, plain
from local.stripe.store import Body
from local.stripe.world import World, reworded

RETRIEVE: Final = plain("ChargeRetrieveParams")
UPDATE: Final = Shape("ChargeModifyParams", {"description": TEXT, "metadata": METADATA, "receipt_email": TEXT})
LIST: Final = listed("ChargeListParams", created=RANGE, customer=TEXT, payment_intent=TEXT, transfer_group=TEXT)


def retrieve(world: World, _params: Params, identifier: str) -> Body:
    """Return a charge."""
    return world.get("charge", identifier)


def update(world: World, params: Params, identifier: str) -> Body:
    """Change what a charge says."""
    return reworded(world, "charge", identifier, params, fields={"description", "receipt_email"})


def list_all(world: World, params: Params) -> Body:
    """Return charges, newest first."""
    customer, intent = params.get("customer"), params.get("payment_intent")
    asked = {name: params[name] for name in ("customer", "payment_intent", "transfer_group") if params.get(name)}
    found = (
        body
        for body in world.all("charge", owner=customer, parent=None if customer else intent)
        if all(body[name] == value for name, value in asked.items())
    )
    return page_of(found, params, "/v1/charges")


def refunds_of(world: World, charge: Body) -> Body:
    """Return a charge's refunds, as `expand` shows them."""
    return listing(f"/v1/charges/{charge['id']}/refunds", list(world.all("refund", parent=charge["id"])))


def attempt(world: World, intent: Body, method: Body) -> Body:
    """Make the charge of an attempt to pay; its status says how it went: succeeded, pending or failed."""
    outcome = method["_outcome"]
    if outcome in {"debit_ok", "debit_fail"}:
        body = world.insert(_charge(world, intent, method) | {"status": "pending"})
        world.tell("charge.pending", body)
        return body
    if outcome in {"ok", "bypass", "dispute"}:
        body = world.insert(_charge(world, intent, method) | {"status": "pending"})
        return succeed(world, body, "charge.succeeded")
    body = world.insert(_charge(world, intent, method) | {"status": "failed"})
    return fail(world, body, outcome)


def succeed(world: World, body: Body, event_type: str) -> Body:
    """Book a charge that was paid."""
    method = world.known("payment_method", body["payment_method"])
    kind = method["type"]
    at_once = method["_outcome"] == "bypass"
    transaction = balance.book(
        world,
        "charge" if kind == "card" else "payment",
        body["amount"],
        body["id"],
        fee_cents=balance.fee_of(body["amount"], kind),
        available_on=world.now + (0 if at_once else balance.PENDING_S),
        description=body["description"],
    )
    changes = {"status": "succeeded", "paid": True, "captured": True, "amount_captured": body["amount"]}
    world.update(body, **changes, balance_transaction=transaction, outcome=_outcome())
    world.tell(event_type, body)
    return body


def fail(world: World, body: Body, outcome: str) -> Body:
    """Book a charge that was refused."""
    error = refusal_of(outcome)
    reason = error.get("decline_code", error["code"])
    changes = {"status": "failed", "paid": False, "captured": False, "failure_code": error["code"]}
    world.update(body, **changes, failure_message=error["message"], outcome=_outcome(reason))
    world.tell("charge.failed", body)
    return body


def _charge(world: World, intent: Body, method: Body) -> Body:
    identifier = world.new_id("ch" if method["type"] == "card" else "py")
    return {
        "id": identifier,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": {"address": dict.fromkeys(ADDRESS), "tax_id": None, **method["billing_details"]},
        "calculated_statement_descriptor": "SPELL",
        "captured": False,
        "created": world.now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "on_behalf_of": None,
        "outcome": None,
        "paid": False,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"type": method["type"], method["type"]: _details(method)},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": f"{world.url}/receipts/{identifier}",
        "refunded": False,
        "review": None,
        "shipping": None,
        "source_transfer": None,
        "statement_descriptor": intent["statement_descriptor"],
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "status": "pending",
        "transfer_data": None,
        "transfer_group": intent["transfer_group"],
    }


def _details(method: Body) -> Body:
    details: dict[str, Any] = method[method["type"]]  # as of a card or a bank account
    shared = ("fingerprint", "last4")
    if method["type"] == "card":
        names = ("brand", "checks", "country", "exp_month", "exp_year", "funding", "regulated_status", "wallet")
        kept = {name: details[name] for name in (*shared, *names)}
        return {**kept, "installments": None, "mandate": None, "network": details["brand"], "three_d_secure": None}
    names = ("account_holder_type", "account_type", "bank_name", "routing_number")
    return {**{name: details[name] for name in (*shared, *names)}, "mandate": None, "payment_reference": None}


def _outcome(reason: str | None = None) -> Body:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network" if reason is None else "declined_by_network",
        "reason": reason,
        "risk_level": "normal",
        "seller_message": "Payment complete." if reason is None else "The bank did not return any further details.",
        "type": "authorized" if reason is None else "issuer_declined",
    }
