"""The checkout page: what is for sale, and buttons for each way a payment goes."""

import html
from http import HTTPStatus
from typing import Final

from local.stripe import checkout_pay
from local.stripe.control import Control
from local.stripe.pages.html import Page, button, dollars, form, page, sent, told
from local.stripe.shapes import part
from local.stripe.store import Body

_TRIALS: Final = {
    "card": checkout_pay.CARD,
    "refused": checkout_pay.REFUSED_CARD,
    "debit": checkout_pay.DEBIT,
    "refused_debit": checkout_pay.REFUSED_DEBIT,
}
_VERB: Final = {"payment": "Pay", "subscription": "Subscribe", "setup": "Save card"}


def show(control: Control, identifier: str, *, refused: bool = False) -> Page:
    """Show what a session sells."""
    session = control.object(identifier)
    if session["status"] != "open":
        return told(HTTPStatus.OK, f"This page is {session['status']}", "There is nothing left to pay here.")
    total = "" if session["amount_total"] is None else f" {dollars(session['amount_total'])}"
    verb = _VERB[session["mode"]]
    email = part(session, "customer_details").get("email")
    asked = "" if email else '<p><label>Mail address <input name="email" type="email" autocomplete="off"></label></p>'
    note = '<p class="bad" role="alert">The card was declined. Try another one.</p>' if refused else ""
    cancel = button("Cancel and go back", "way", "cancel") if session["cancel_url"] else ""
    buttons = (
        button(f"{verb}{total} by card", "way", "card", first=True)
        + button(f"{verb} by bank debit (settles in 4 days)", "way", "debit")
        + button("Pay by bank debit that will fail", "way", "refused_debit")
        + button("Try a card that is declined", "way", "refused")
        + cancel
    )
    who = f"<p>For {html.escape(email)}</p>" if email else ""
    return page(
        f"{verb} at the stand-in for Stripe",
        f'<div class="card"><h1>{verb}{total}</h1>{who}{_lines(control, session)}{note}'
        f"{form(f'/stripe/checkout/{identifier}', asked + buttons, kind='wide')}"
        '<p class="note">This is a stand-in for Stripe: no money moves.</p></div>',
    )


def press(control: Control, identifier: str, fields: dict[str, str]) -> Page:
    """Pay, or not, and send the browser where the session says."""
    way = fields.get("way", "")
    session = control.object(identifier)
    if way == "cancel" and session["cancel_url"]:
        return sent(session["cancel_url"])
    if way not in _TRIALS:
        return told(HTTPStatus.BAD_REQUEST, "Press one of the buttons", "")
    paid = control.pay(identifier, _TRIALS[way], email=fields.get("email") or None)
    if paid["status"] == "open":
        return show(control, identifier, refused=True)
    return sent(paid["success_url"].replace("{CHECKOUT_SESSION_ID}", identifier))


def _lines(control: Control, session: Body) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(line['description'])}</td><td>{line['quantity']}</td>"
        f'<td class="sum">{dollars(line["amount_total"])}{_per(line)}</td></tr>'
        for line in control.line_items(session["id"])
    )
    return f"<table>{rows}</table>" if rows else ""


def _per(line: Body) -> str:
    recurring = line["price"]["recurring"]
    return f" a {html.escape(recurring['interval'])}" if recurring else ""
