"""What the buttons of a checkout page do."""

from typing import Final

from local.stripe import collection, customers, intents, subscription_life
from local.stripe.errors import refuse
from local.stripe.invoice_items import new_item
from local.stripe.invoice_lines import ADDED, add_item_line, pricing_of, summed
from local.stripe.invoices import new_invoice
from local.stripe.shapes import part
from local.stripe.store import Body
from local.stripe.world import World

CARD: Final = "pm_card_visa"
REFUSED_CARD: Final = "pm_card_chargeCustomerFail"
DEBIT: Final = "pm_usBankAccount_success"
REFUSED_DEBIT: Final = "pm_usBankAccount_insufficientFunds"


def pay(world: World, identifier: str, trial: str, *, email: str | None = None) -> Body:
    """Pay, subscribe or leave a card with one of the payment methods for tests.

    A card that is refused leaves the session open: the customer may try another. Raises StripeError when the session
    is not open.
    """
    body = world.get("checkout.session", identifier)
    if body["status"] != "open":
        refuse(f"This Checkout Session is {body['status']}: nobody can pay on it any more.")
    customer = _customer(world, body, email)
    method = customers.new_method(world, trial, email=(customer or {}).get("email") or email)
    match body["mode"]:
        case "payment":
            complete = _pay(world, body, customer, method)
        case "subscription":
            assert customer is not None, "a subscription has a customer"
            complete = _subscribe(world, body, customer, method)
        case _:
            complete = _set_up(world, body, customer, method)
    if complete:
        world.update(body, status="complete", url=None)
        world.tell("checkout.session.completed", body)
    return body


def settled(world: World, body: Body, *, succeeded: bool) -> None:
    """Hear from the bank about a debit that a completed session waits for."""
    if succeeded:
        world.update(body, payment_status="paid")
    ending = "succeeded" if succeeded else "failed"
    world.tell(f"checkout.session.async_payment_{ending}", body)


def _customer(world: World, body: Body, email: str | None) -> Body | None:
    """Return who pays, made where the session needs one."""
    if body["customer"] is not None:
        return customers.living(world, body["customer"])
    address = email or body["customer_email"] or "customer@example.com"
    body["customer_details"] = {
        "address": None,
        "email": address,
        "name": None,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }
    usage = body["_asked"]["payment_intent_data"].get("setup_future_usage")
    invoiced = part(body, "invoice_creation").get("enabled")
    if body["mode"] == "payment" and body["customer_creation"] != "always" and not usage and not invoiced:
        return None
    made = customers.create(world, {"email": address})
    world.update(body, customer=made["id"])
    return made


def _pay(world: World, body: Body, customer: Body | None, method: Body) -> bool:
    if body["invoice_creation"]["enabled"]:
        assert customer is not None, "an invoice has a customer"
        return _pay_invoice(world, body, customer, method)
    asked = body["_asked"]["payment_intent_data"]
    intent = world.find("payment_intent", body["payment_intent"])
    if intent is None:
        metadata = part(asked, "metadata")
        intent = intents.new_intent(world, body["amount_total"], body["customer"], metadata=metadata)
        for name in ("description", "receipt_email", "setup_future_usage", "transfer_group"):
            intent[name] = asked.get(name)
        world.update(intent, statement_descriptor_suffix=asked.get("statement_descriptor_suffix"), _session=body["id"])
        world.update(body, payment_intent=intent["id"])
        world.tell("payment_intent.created", intent)
    if intents.attempt(world, intent, method, off_session=False) is not None:
        return False
    if asked.get("setup_future_usage") and customer is not None:
        _attach(world, method, customer)
    world.update(body, payment_status="paid" if intent["status"] == "succeeded" else "unpaid")
    return True


def _pay_invoice(world: World, body: Body, customer: Body, method: Body) -> bool:
    """Pay by way of an invoice, which the customer gets as a receipt."""
    invoice = world.find("invoice", body["invoice"])
    if invoice is None:
        invoice = new_invoice(world, customer, reason="manual")
        for line in body["_lines"]:
            _invoice_line(world, customer, invoice, line)
        summed(world, invoice)
        world.tell("invoice.created", invoice)
        world.update(body, invoice=invoice["id"])
        collection.finalize(world, invoice, auto_advance=False)
        intent = world.known("payment_intent", invoice["_intent"])
        asked = body["_asked"]["payment_intent_data"]
        world.update(intent, metadata=asked.get("metadata") or {}, _session=body["id"])
        world.update(body, payment_intent=intent["id"])
    return _collect(world, body, invoice, method)


def _subscribe(world: World, body: Body, customer: Body, method: Body) -> bool:
    subscription = world.find("subscription", body["subscription"])
    if subscription is None:
        asked = body["_asked"]["subscription_data"]
        recurring = [line for line in body["_lines"] if line["price"]["type"] == "recurring"]
        for line in body["_lines"]:
            if line not in recurring:
                _invoice_line(world, customer, None, line)
        items = [{"price": line["price"]["id"], "quantity": line["quantity"]} for line in recurring]
        subscription = subscription_life.new_subscription(world, customer, items, metadata=asked.get("metadata") or {})
        world.update(subscription, description=asked.get("description"))
        world.update(body, subscription=subscription["id"])
        world.tell("customer.subscription.created", subscription)
        invoice = subscription_life.first_invoice(world, subscription, customer)
        world.update(body, invoice=invoice["id"])
        if invoice["_intent"] is not None:
            world.update(world.known("payment_intent", invoice["_intent"]), _session=body["id"])
    invoice = world.known("invoice", body["invoice"])
    if invoice["status"] == "open" and not _collect(world, body, invoice, method):
        return False
    _attach(world, method, customer)
    before = dict(subscription)
    changes = {"default_payment_method": method["id"]}
    if subscription["status"] == "incomplete":
        # A debit takes days; who subscribed with one is served meanwhile.
        changes["status"] = "active"
    world.update(subscription, **changes)
    world.tell_changes("customer.subscription.updated", subscription, before)
    if invoice["amount_due"] == 0:
        world.update(body, payment_status="no_payment_required" if invoice["total"] == 0 else "paid")
    return True


def _set_up(world: World, body: Body, customer: Body | None, method: Body) -> bool:
    if method["_outcome"] not in {"ok", "debit_ok"}:
        return False
    asked = body["_asked"]["setup_intent_data"]
    identifier = world.new_id("seti")
    unset = (
        *("application", "automatic_payment_methods", "cancellation_reason", "flow_directions", "last_setup_error"),
        *("latest_attempt", "mandate", "next_action", "on_behalf_of", "payment_method_configuration_details"),
        "single_use_mandate",
    )
    intent = world.insert(
        {
            "id": identifier,
            "object": "setup_intent",
            **dict.fromkeys(unset),
            "client_secret": f"{identifier}_secret_{world.new_id('x')[2:]}",
            "created": world.now,
            "customer": body["customer"],
            "description": asked.get("description"),
            "livemode": False,
            "metadata": asked.get("metadata") or {},
            "payment_method": method["id"],
            "payment_method_options": {},
            "payment_method_types": list(intents.METHOD_TYPES),
            "status": "succeeded",
            "usage": "off_session",
        }
    )
    if customer is not None:
        _attach(world, method, customer)
    world.update(body, setup_intent=intent["id"])
    world.tell("setup_intent.succeeded", intent)
    return True


def _collect(world: World, body: Body, invoice: Body, method: Body) -> bool:
    """Pay a session's invoice; return False when the method was refused."""
    intent = world.known("payment_intent", invoice["_intent"])
    if collection.attempt(world, invoice, method, automatic=False) is not None:
        return False
    world.update(body, payment_status="paid" if intent["status"] == "succeeded" else "unpaid")
    return True


def _invoice_line(world: World, customer: Body, invoice: Body | None, line: Body) -> None:
    item = new_item(
        world,
        customer["id"],
        amount=line["amount_total"],
        quantity=line["quantity"],
        pricing=pricing_of(line["price"]),
        description=line["description"],
        metadata={},
        period={"start": world.now, "end": world.now},
        invoice=None if invoice is None else invoice["id"],
    )
    if invoice is not None:
        add_item_line(world, invoice, item, ADDED)


def _attach(world: World, method: Body, customer: Body) -> None:
    if method["customer"] is None:
        world.update(method, customer=customer["id"])
        world.tell("payment_method.attached", method)
