"""The operator's view: everything there is, the clock, the webhook and what goes wrong."""

import html
import json
from http import HTTPStatus
from typing import Final

from local.stripe.control import Control
from local.stripe.errors import StripeError
from local.stripe.faults import KINDS, fault_of
from local.stripe.pages.html import Page, button, choice, field, form, moment, page, sent, table, told
from local.stripe.pages.listings import LISTINGS, linked
from local.stripe.store import Body

ROWS_MAX: Final = 200
_DAYS: Final = (("1 hour", 3_600), ("1 day", 86_400), ("5 days", 5 * 86_400), ("32 days", 32 * 86_400))


def show(control: Control, steps: list[str], fields: dict[str, str]) -> Page:
    """Show a list, an object, the faults or the clock."""
    match steps:
        case [] | [""]:
            return _start(control)
        case ["faults"]:
            return _faults(control)
        case ["clock"]:
            return _clock(control)
        case ["objects" | "receipts" | "accounts" | "credit_notes", identifier, *_]:
            return _object(control, identifier)
        case [name] if name in LISTINGS:
            return _list(control, name, fields.get("type", ""))
        case _:
            return told(HTTPStatus.NOT_FOUND, "There is no such page", "")


def press(control: Control, steps: list[str], fields: dict[str, str]) -> Page:
    """Do what a button of the operator's says."""
    match steps:
        case ["faults"]:
            return _set_fault(control, fields)
        case ["clock"]:
            return _move(control, fields.get("seconds", ""))
        case ["webhook"]:
            return _turn(control, fields)
        case ["objects", identifier]:
            return _act(control, identifier, fields.get("do", ""))
        case _:
            return told(HTTPStatus.NOT_FOUND, "There is no such page", "")


def _set_fault(control: Control, fields: dict[str, str]) -> Page:
    if fields.get("do") == "heal":
        control.heal()
    else:
        try:
            control.fail(**fault_of(fields)._asdict())
        except ValueError as error:
            return told(HTTPStatus.BAD_REQUEST, "No such fault", str(error))
    return sent("/stripe/faults")


def _move(control: Control, seconds: str) -> Page:
    if not seconds.isdecimal():
        return told(HTTPStatus.BAD_REQUEST, "By how many seconds?", "")
    control.advance(int(seconds))
    return sent("/stripe/clock")


def _turn(control: Control, fields: dict[str, str]) -> Page:
    try:
        late = float(fields.get("late") or 0)
        control.webhooks(
            paused=fields.get("paused") == "yes", duplicate_rate=float(fields.get("twice") or 0), delay_s=(0.0, late)
        )
    except ValueError as error:
        return told(HTTPStatus.BAD_REQUEST, "These are no numbers", str(error))
    return sent("/stripe/clock")


def _act(control: Control, identifier: str, wanted: str) -> Page:
    """Press a button of one object."""
    match wanted:
        case "send":
            control.send(identifier)
        case "dispute":
            return sent(f"/stripe/objects/{control.dispute(identifier)['id']}")
        case "won" | "lost":
            control.decide(identifier, won=wanted == "won")
        case "reverse":
            control.reverse(identifier)
        case "restrict":
            control.restrict(identifier)
        case "settle" | "bounce":
            control.settle_debit(identifier, succeeds=wanted == "settle")
        case _:
            raise StripeError(HTTPStatus.BAD_REQUEST, "invalid_request_error", "Press one of the buttons.")
    return sent(f"/stripe/objects/{identifier}")


def _frame(title: str, content: str) -> Page:
    places = [("", "Start"), *((name, name.replace("_", " ").capitalize()) for name in LISTINGS)]
    places += [("faults", "Faults"), ("clock", "Clock and webhook")]
    links = "".join(f'<a href="/stripe/{place}">{html.escape(words)}</a>' for place, words in places)
    return page(f"{title} - stand-in for Stripe", f"<nav>{links}</nav><h1>{html.escape(title)}</h1>{content}")


def _start(control: Control) -> Page:
    rows = [[linked(f"/stripe/{name}", name), str(len(control.objects(kind)))] for name, (kind, *_) in LISTINGS.items()]
    return _frame(
        "Stand-in for Stripe",
        f"<p>Everything the platform did at Stripe, on this machine alone. It is {moment(control.now)} here.</p>"
        f"{table(['What', 'How many'], rows)}",
    )


def _list(control: Control, name: str, event_type: str) -> Page:
    kind, heads, row = LISTINGS[name]
    bodies = control.objects(kind)[::-1]
    if event_type:
        bodies = [body for body in bodies if body.get("type") == event_type]
    rows = [[linked(f"/stripe/objects/{body['id']}", body["id"]), *row(body)] for body in bodies[:ROWS_MAX]]
    more = "" if len(bodies) <= ROWS_MAX else f"<p>The newest {ROWS_MAX} of {len(bodies)}.</p>"
    return _frame(name.replace("_", " ").capitalize(), f"{table(['Id', *heads], rows)}{more}")


def _object(control: Control, identifier: str) -> Page:
    body = control.object(identifier)
    shown = html.escape(json.dumps(body, indent=2, ensure_ascii=False))
    return _frame(identifier, f"{_buttons(body)}{_deliveries(control, body)}{_open(body)}<pre>{shown}</pre>")


def _buttons(body: Body) -> str:
    match body["object"], body.get("status"):
        case "event", _:
            content = button("Send it once more", "do", "send")
        case "charge", "succeeded" if not body["disputed"] and not body["refunded"]:
            content = button("Have the bank dispute it", "do", "dispute")
        case "dispute", "needs_response" | "under_review":
            content = button("Won", "do", "won") + button("Lost", "do", "lost")
        case "transfer", _ if not body["reversed"]:
            content = button("Take it back", "do", "reverse")
        case "account", _ if body["payouts_enabled"]:
            content = button("Have Stripe find something wrong", "do", "restrict")
        case "payment_intent", "processing":
            content = button("The debit is paid", "do", "settle") + button("The debit fails", "do", "bounce")
        case _:
            return ""
    return f"<p>{form('/stripe/objects/' + body['id'], content)}</p>"


def _deliveries(control: Control, body: Body) -> str:
    if body["object"] != "event":
        return ""
    rows = [
        [html.escape(each.state), str(each.attempts), html.escape(each.answer or "")]
        for each in control.deliveries(body["id"])
    ]
    return table(["Sending", "Attempts", "Last answer"], rows)


def _open(body: Body) -> str:
    address = body.get("hosted_invoice_url") or body.get("url") if body["object"] != "list" else None
    if body["object"] not in {"checkout.session", "invoice", "billing_portal.session"} or not address:
        return ""
    return f"<p>{linked(address, 'Open its page')}</p>"


def _faults(control: Control) -> Page:
    rows = [
        [each.kind, each.method or "any", html.escape(each.path or "any"), str(each.calls or "all"), str(each.rate)]
        for each in control.faults()
    ]
    fields = (
        choice("kind", KINDS)
        + field("Calls", "calls", "1")
        + field("Share", "rate", "1")
        + field("Method", "method", "")
        + field("Path begins with", "path", "")
        + button("Set it", "do", "fail", first=True)
    )
    heal = form("/stripe/faults", button("Lift all", "do", "heal"))
    return _frame(
        "Faults",
        f"<p>What goes wrong with the platform's calls.</p>{form('/stripe/faults', fields)}"
        f"{table(['Kind', 'Method', 'Path', 'Calls left', 'Share'], rows)}{heal if rows else ''}",
    )


def _clock(control: Control) -> Page:
    moves = "".join(button(f"Forward {words}", "seconds", str(seconds)) for words, seconds in _DAYS)
    jobs = [
        [moment(each.at), each.verb.replace("_", " "), linked(f"/stripe/objects/{each.ref}", each.ref)]
        for each in control.jobs()
    ]
    knobs = control.knobs()
    turn = (
        choice("paused", {"no": "sending", "yes": "paused"}, "yes" if knobs.paused else "no")
        + field("Share sent twice", "twice", str(knobs.duplicate_rate))
        + field("Up to how many seconds late", "late", str(knobs.delay_s[1]))
        + button("Turn", "do", "turn")
    )
    return _frame(
        "Clock and webhook",
        f"<p>It is {moment(control.now)} here.</p>{form('/stripe/clock', moves)}"
        f"<h2>Webhook</h2><p>Events go to {html.escape(knobs.url or 'nobody')}; {knobs.waiting} wait.</p>"
        f"{form('/stripe/webhook', turn)}<h2>What comes</h2>{table(['When', 'What', 'Of'], jobs[:ROWS_MAX])}",
    )
