"""Credit notes: what is taken off a final invoice, before it is paid or after."""

from typing import Any, Final

from local.stripe import collection, refunds
from local.stripe.answers import listing, page_of
from local.stripe.api import CURRENCY
from local.stripe.errors import refuse
from local.stripe.invoice_lines import lines_of
from local.stripe.shapes import (
    INTEGER,
    METADATA,
    RANGE,
    TEXT,
    ListOf,
    Params,
    Shape,
    listed,
    one_of,
    parts,
    plain,
)
from local.stripe.store import Body
from local.stripe.world import World, merged_metadata, reworded

CREATE: Final = Shape(
    "CreditNoteCreateParams",
    {
        "amount": INTEGER,
        "credit_amount": INTEGER,
        "email_type": one_of("credit_note", "none"),
        "invoice": TEXT,
        "lines": ListOf(
            {
                "amount": INTEGER,
                "description": TEXT,
                "invoice_line_item": TEXT,
                "quantity": INTEGER,
                "type": one_of("custom_line_item", "invoice_line_item"),
                "unit_amount": INTEGER,
            }
        ),
        "memo": TEXT,
        "metadata": METADATA,
        "out_of_band_amount": INTEGER,
        "reason": one_of("duplicate", "fraudulent", "order_change", "product_unsatisfactory"),
        "refund_amount": INTEGER,
        "refunds": ListOf({"amount_refunded": INTEGER, "refund": TEXT}),
    },
    ("invoice",),
)
UPDATE: Final = Shape("CreditNoteUpdateParams", {"memo": TEXT, "metadata": METADATA})
RETRIEVE: Final = plain("CreditNoteRetrieveParams")
LIST: Final = listed("CreditNoteListParams", created=RANGE, customer=TEXT, invoice=TEXT)
VOID: Final = plain("CreditNoteVoidCreditNoteParams")


def create(world: World, params: Params) -> Body:
    """Take a sum off an invoice: off what is still due, or given back where it was paid."""
    invoice = world.get("invoice", params["invoice"], "invoice")
    if invoice["status"] not in {"open", "paid", "uncollectible"}:
        refuse(
            f"You can only create credit notes for final invoices; this one is {invoice['status']}.", param="invoice"
        )
    lines = _lines(world, invoice, params)
    amount = sum(line["amount"] for line in lines)
    if amount < 1:
        refuse("The credit note amount must be greater than 0.", param="amount")
    credited = invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"]
    if amount > invoice["total"] - credited:
        refuse("The amount of the credit note is greater than what is left of the invoice.", param="amount")
    given_back = _given_back(world, params)
    before_payment = amount if invoice["status"] != "paid" else 0
    if before_payment and sum(given_back.values()):
        refuse("Nothing was paid yet: there is nothing to give back.", param="refund_amount")
    if before_payment > invoice["amount_remaining"]:
        refuse("The amount of the credit note is greater than what is still due.", param="amount")
    if not before_payment and sum(given_back.values()) != amount:
        refuse(
            "The sum of credit amount, refund amount and out of band amount must equal the post payment amount of the "
            "credit note.",
            param="refund_amount",
        )
    body = _note(world, invoice, params, lines, before_payment)
    body["refunds"] = _refunds(world, invoice, params)
    world.insert(body)
    _apply(world, invoice, body, given_back["credit_amount"])
    world.tell("credit_note.created", body)
    return body


def update(world: World, params: Params, identifier: str) -> Body:
    """Change what a note says."""
    return reworded(world, "credit_note", identifier, params, fields={"memo"})


def retrieve(world: World, _params: Params, identifier: str) -> Body:
    """Return a note."""
    return world.get("credit_note", identifier)


def list_all(world: World, params: Params) -> Body:
    """Return notes, newest first."""
    customer, invoice = params.get("customer"), params.get("invoice")
    found = (
        body
        for body in world.all("credit_note", owner=customer, parent=None if customer else invoice)
        if invoice in (None, body["invoice"])
    )
    return page_of(found, params, "/v1/credit_notes")


def void(world: World, _params: Params, identifier: str) -> Body:
    """Undo a note on an invoice that is still open."""
    body = world.get("credit_note", identifier)
    invoice = world.known("invoice", body["invoice"])
    if body["status"] != "issued" or invoice["status"] != "open":
        refuse("You can only void a credit note that was issued for an open invoice.")
    world.update(body, status="void", voided_at=world.now)
    due = invoice["amount_remaining"] + body["amount"]
    less = invoice["pre_payment_credit_notes_amount"] - body["amount"]
    world.update(invoice, amount_due=due, amount_remaining=due, pre_payment_credit_notes_amount=less)
    world.tell("credit_note.voided", body)
    return body


def _lines(world: World, invoice: Body, params: Params) -> list[Body]:
    """Return the lines of a note: those asked for, or one of the whole amount."""
    asked = parts(params, "lines")
    if not asked:
        if params.get("amount") is None:
            refuse("You must provide one of `amount`, `lines` or `shipping_cost`.", param="amount")
        whole: Params = {"type": "custom_line_item", "unit_amount": params["amount"], "quantity": 1}
        asked = [whole]
    known = {line["id"]: line for line in lines_of(world, invoice["id"])}
    made: list[Body] = []
    for place, each in enumerate(asked):
        line = known.get(each.get("invoice_line_item", ""))
        if each.get("type") == "invoice_line_item" and line is None:
            refuse("No such invoice line item.", code="resource_missing", param=f"lines[{place}][invoice_line_item]")
        quantity = each.get("quantity") or 1
        all_of_it = line["amount"] if line is not None else 0
        amount = each["amount"] if each.get("amount") is not None else (each.get("unit_amount") or 0) * quantity
        amount = amount or all_of_it
        words = each.get("description") or (line["description"] if line is not None else None)
        made.append(_line(world, amount, quantity, words, None if line is None else line["id"]))
    return made


def _line(world: World, amount_cents: int, quantity: int, words: str | None, of_line: str | None) -> Body:
    return {
        "id": world.new_id("cnli"),
        "object": "credit_note_line_item",
        "amount": amount_cents,
        "description": words,
        "discount_amount": 0,
        "discount_amounts": [],
        "invoice_line_item": of_line,
        "livemode": False,
        "pretax_credit_amounts": [],
        "quantity": quantity,
        "tax_rates": [],
        "taxes": [],
        "type": "invoice_line_item" if of_line else "custom_line_item",
        "unit_amount": amount_cents // quantity,
        "unit_amount_decimal": str(amount_cents // quantity),
    }


def _given_back(world: World, params: Params) -> dict[str, int]:
    """Return in which ways a paid sum is given back."""
    names = ("credit_amount", "refund_amount", "out_of_band_amount")
    back = {name: params.get(name) or 0 for name in names}
    linked = 0
    for each in parts(params, "refunds"):
        made = world.get("refund", each.get("refund") or "", "refunds[0][refund]")
        linked += each.get("amount_refunded") or made["amount"]
    return {**back, "refunds": linked}


def _refunds(world: World, invoice: Body, params: Params) -> list[dict[str, Any]]:
    """Send back what is asked for; return all refunds of the note."""
    linked = [
        {"amount_refunded": each.get("amount_refunded") or world.known("refund", each["refund"])["amount"], **_of(each)}
        for each in parts(params, "refunds")
    ]
    if not params.get("refund_amount"):
        return linked
    intent = world.find("payment_intent", invoice["_intent"])
    charge = world.find("charge", intent["latest_charge"]) if intent is not None else None
    if charge is None or charge["amount"] - charge["amount_refunded"] < params["refund_amount"]:
        refuse("There is no charge to refund that much of.", param="refund_amount")
    made = refunds.refund(world, charge, params["refund_amount"], "requested_by_customer", {})
    return [*linked, {"amount_refunded": made["amount"], **_of({"refund": made["id"]})}]


def _of(refund: Params) -> Body:
    return {"payment_record_refund": None, "refund": refund["refund"], "type": "refund"}


def _note(world: World, invoice: Body, params: Params, lines: list[Body], before_payment: int) -> Body:
    identifier = world.new_id("cn")
    amount = sum(line["amount"] for line in lines)
    count = sum(1 for _ in world.all("credit_note", parent=invoice["id"]))
    return {
        "id": identifier,
        "object": "credit_note",
        "amount": amount,
        "amount_shipping": 0,
        "created": world.now,
        "currency": CURRENCY,
        "customer": invoice["customer"],
        "customer_balance_transaction": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": world.now,
        "invoice": invoice["id"],
        "lines": listing(f"/v1/credit_notes/{identifier}/lines", lines),
        "livemode": False,
        "memo": params.get("memo"),
        "metadata": merged_metadata(None, params),
        "number": f"{invoice['number']}-CN-{count + 1:02d}",
        "out_of_band_amount": params.get("out_of_band_amount"),
        "pdf": f"{world.url}/credit_notes/{identifier}/pdf",
        "post_payment_amount": amount - before_payment,
        "pre_payment_amount": before_payment,
        "pretax_credit_amounts": [],
        "reason": params.get("reason"),
        "refunds": [],
        "shipping_cost": None,
        "status": "issued",
        "subtotal": amount,
        "subtotal_excluding_tax": amount,
        "total": amount,
        "total_excluding_tax": amount,
        "total_taxes": [],
        "type": "pre_payment" if before_payment else "post_payment",
        "voided_at": None,
    }


def _apply(world: World, invoice: Body, body: Body, credit_cents: int) -> None:
    """Lower what is due, or remember what was given back; an open invoice with nothing due is paid."""
    if credit_cents:
        customer = world.known("customer", invoice["customer"])
        world.update(customer, balance=customer["balance"] - credit_cents)
    if body["post_payment_amount"]:
        more = invoice["post_payment_credit_notes_amount"] + body["amount"]
        world.update(invoice, post_payment_credit_notes_amount=more)
        return
    due = invoice["amount_remaining"] - body["amount"]
    more = invoice["pre_payment_credit_notes_amount"] + body["amount"]
    world.update(invoice, amount_due=due, amount_remaining=due, pre_payment_credit_notes_amount=more)
    intent = world.find("payment_intent", invoice["_intent"])
    if due == 0:
        collection.stop(world, invoice)
        collection.paid(world, invoice, 0)
    elif intent is not None:
        world.update(intent, amount=due)
