"""The portal: a customer's subscriptions, card and invoices."""

import html
from http import HTTPStatus
from typing import Final

from local.stripe.control import Control
from local.stripe.pages.html import Page, button, day, dollars, form, page, sent, table, told
from local.stripe.store import Body

_CARDS: Final = {"card": "pm_card_visa", "refused": "pm_card_chargeCustomerFail"}


def show(control: Control, identifier: str) -> Page:
    """Show what a customer may do."""
    session = control.object(identifier)
    customer = control.object(session["customer"])
    subscriptions = [each for each in control.subscriptions(customer=customer["id"]) if each["status"] != "canceled"]
    action = f"/stripe/portal/{identifier}"
    plans = "".join(_subscription(control, each, action) for each in subscriptions)
    rows = [_invoice(each) for each in reversed(control.invoices(customer=customer["id"])) if each["status"] != "draft"]
    cards = button("Use a new card", "do", "card") + button("Use a card that will be declined", "do", "refused")
    back = session["return_url"]
    return page(
        "Billing at the stand-in for Stripe",
        f"<h1>Billing of {html.escape(customer['name'] or customer['email'] or customer['id'])}</h1>"
        + (f'<p><a href="{html.escape(back)}">Return to the platform</a></p>' if back else "")
        + f"<h2>Subscriptions</h2>{plans or '<p>None.</p>'}"
        + f"<h2>Card</h2><p>{_card(control, customer, subscriptions)}</p>{form(action, cards)}"
        + f"<h2>Invoices</h2>{table(['Number', 'Date', 'Total', 'Status', ''], rows)}"
        + '<p class="note">This is a stand-in for Stripe: no money moves.</p>',
    )


def press(control: Control, identifier: str, fields: dict[str, str]) -> Page:
    """Do what a button says, and show the page again."""
    session = control.object(identifier)
    customer, wanted = session["customer"], fields.get("do", "")
    verb, _, subscription = wanted.partition(":")
    if verb in _CARDS:
        control.replace_card(customer, _CARDS[verb])
    elif verb in {"cancel", "keep"} and control.object(subscription)["customer"] == customer:
        control.cancel_at_period_end(subscription, wanted=verb == "cancel")
    else:
        return told(HTTPStatus.BAD_REQUEST, "Press one of the buttons", "")
    return sent(f"/stripe/portal/{identifier}")


def _subscription(control: Control, body: Body, action: str) -> str:
    item = body["items"]["data"][0]
    product = control.object(item["price"]["product"])
    price = f"{dollars(item['price']['unit_amount'])} a {item['price']['recurring']['interval']}"
    until = day(item["current_period_end"])
    if body["cancel_at_period_end"]:
        words, do = f"ends on {until}", button("Keep it", "do", f"keep:{body['id']}")
    else:
        words, do = f"renews on {until}", button("Cancel at the end of the period", "do", f"cancel:{body['id']}")
    return (
        f"<p><strong>{html.escape(product['name'])}</strong>, {price}, {html.escape(body['status'])}, {words}</p>"
        f"{form(action, do)}"
    )


def _card(control: Control, customer: Body, subscriptions: list[Body]) -> str:
    chosen = customer["invoice_settings"]["default_payment_method"]
    chosen = chosen or next((each["default_payment_method"] for each in subscriptions), None)
    if chosen is None:
        return "No card is saved."
    method = control.object(chosen)
    details = method[method["type"]]
    return f"{html.escape(details.get('brand') or details.get('bank_name'))} ending in {html.escape(details['last4'])}"


def _invoice(body: Body) -> list[str]:
    links = f'<a href="{html.escape(body["hosted_invoice_url"])}">View</a>'
    number = html.escape(body["number"])
    return [number, day(body["created"]), dollars(body["total"]), html.escape(body["status"]), links]
