"""The operator's lists: which objects, and what of each stands in a row."""

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from local.stripe.pages.html import dollars, moment
from local.stripe.store import Body

Row = Callable[[Body], list[str]]


def linked(address: str, words: str) -> str:
    """Return a link."""
    return f'<a href="{html.escape(address)}">{html.escape(words)}</a>'


def _of(identifier: str | None) -> str:
    return linked(f"/stripe/objects/{identifier}", identifier) if identifier else ""


def _text(value: object) -> str:
    return "" if value is None else html.escape(str(value))


def _customer(body: Body) -> list[str]:
    if body.get("deleted"):
        return ["deleted", "", ""]
    return [_text(body["email"]), _text(body["name"]), moment(body["created"])]


def _session(body: Body) -> list[str]:
    page = linked(body["url"], "open") if body["url"] else _text(body["status"])
    return [
        _text(body["mode"]),
        "" if body["amount_total"] is None else dollars(body["amount_total"]),
        page,
        _text(body["payment_status"]),
        _of(body["customer"]),
        moment(body["created"]),
    ]


def _subscription(body: Body) -> list[str]:
    item = body["items"]["data"][0]
    ends = moment(item["current_period_end"])
    return [
        _text(body["status"]),
        _text(item["price"]["lookup_key"] or item["price"]["id"]),
        _of(body["customer"]),
        ends,
    ]


def _invoice(body: Body) -> list[str]:
    page = linked(body["hosted_invoice_url"], body["number"]) if body["hosted_invoice_url"] else ""
    return [
        page,
        _text(body["status"]),
        dollars(body["total"]),
        dollars(body["amount_remaining"]),
        _of(body["customer"]),
    ]


def _intent(body: Body) -> list[str]:
    return [_text(body["status"]), dollars(body["amount"]), _of(body["latest_charge"]), _of(body["customer"])]


def _charge(body: Body) -> list[str]:
    disputed = "disputed" if body["disputed"] else ""
    return [
        _text(body["status"]),
        dollars(body["amount"]),
        dollars(body["amount_refunded"]),
        disputed,
        _of(body["customer"]),
    ]


def _refund(body: Body) -> list[str]:
    return [dollars(body["amount"]), _of(body["charge"]), moment(body["created"])]


def _dispute(body: Body) -> list[str]:
    return [_text(body["status"]), dollars(body["amount"]), _of(body["charge"]), _text(body["reason"])]


def _note(body: Body) -> list[str]:
    return [_text(body["number"]), dollars(body["amount"]), _of(body["invoice"]), _text(body["status"])]


def _account(body: Body) -> list[str]:
    return [_text(body["email"]), "onboarded" if body["details_submitted"] else "not yet", moment(body["created"])]


def _transfer(body: Body) -> list[str]:
    return [
        dollars(body["amount"]),
        dollars(body["amount_reversed"]),
        _of(body["destination"]),
        moment(body["created"]),
    ]


def _event(body: Body) -> list[str]:
    waits = "waits" if body["pending_webhooks"] else ""
    kind = linked(f"/stripe/events?type={body['type']}", body["type"])
    return [kind, _of(body["data"]["object"].get("id")), moment(body["created"]), waits]


LISTINGS: Final[Mapping[str, tuple[str, Sequence[str], Row]]] = {
    "customers": ("customer", ["Mail", "Name", "Made"], _customer),
    "sessions": ("checkout.session", ["Mode", "Total", "Page", "Payment", "Customer", "Made"], _session),
    "subscriptions": ("subscription", ["Status", "Price", "Customer", "Period ends"], _subscription),
    "invoices": ("invoice", ["Number", "Status", "Total", "Due", "Customer"], _invoice),
    "payments": ("payment_intent", ["Status", "Amount", "Charge", "Customer"], _intent),
    "charges": ("charge", ["Status", "Amount", "Refunded", "", "Customer"], _charge),
    "refunds": ("refund", ["Amount", "Charge", "Made"], _refund),
    "disputes": ("dispute", ["Status", "Amount", "Charge", "Reason"], _dispute),
    "notes": ("credit_note", ["Number", "Amount", "Invoice", "Status"], _note),
    "accounts": ("account", ["Mail", "Onboarding", "Made"], _account),
    "transfers": ("transfer", ["Amount", "Reversed", "To", "Made"], _transfer),
    "events": ("event", ["Type", "About", "When", "Webhook"], _event),
}
