"""Which page is where."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from local.stripe.control import Control
from local.stripe.errors import StripeError
from local.stripe.pages import checkout, invoice, onboarding, operator, portal
from local.stripe.pages.html import Page, sent, told


class Ask(NamedTuple):
    """What a browser asks for."""

    method: str
    path: str
    query: str
    body: str


# What may be asked of the control API: POST /stripe/control/NAME with a JSON object of the method's arguments.
VERBS: Final = frozenset(
    {
        *("add_funds", "advance", "decide", "dispute", "events", "fail", "fail_refund", "give_card", "heal", "object"),
        *("objects", "onboard", "pay", "pay_by_debit", "pay_invoice", "replace_card", "restrict", "reverse", "run_due"),
        *("send", "settle", "settle_debit", "webhooks"),
    }
)
# What customers and creators see; each module shows its page and does what its buttons say.
CUSTOMER_PAGES: Final = {"checkout": checkout, "invoices": invoice, "onboarding": onboarding, "portal": portal}


class Pages:
    """Shows pages and does what their buttons say."""

    def __init__(self, control: Control) -> None:
        self._control: Final = control

    def show(self, ask: Ask) -> Page:
        """Return the page that is asked for, or what became of a button."""
        try:
            return self._show(ask)
        except StripeError as error:
            if ask.path.startswith("/stripe/control/"):
                return _json({"error": str(error)}, HTTPStatus.BAD_REQUEST)
            return told(HTTPStatus.BAD_REQUEST, "That does not work", str(error))

    def _show(self, ask: Ask) -> Page:
        control = self._control
        steps = ask.path.strip("/").split("/")
        fields = dict(parse_qsl(ask.query if ask.method == "GET" else ask.body, keep_blank_values=True))
        pressed = ask.method == "POST"
        match steps:
            case ["stripe", "invoices", identifier, "pdf"]:
                page = invoice.pdf(control, identifier)
            case ["stripe", ("checkout" | "invoices" | "onboarding" | "portal") as place, identifier]:
                module = CUSTOMER_PAGES[place]
                page = module.press(control, identifier, fields) if pressed else module.show(control, identifier)
            case ["stripe", "control", verb] if pressed:
                page = self._do(verb, ask.body)
            case ["stripe", *rest]:
                page = operator.press(control, rest, fields) if pressed else operator.show(control, rest, fields)
            case [""]:
                page = sent("/stripe/")
            case _:
                page = told(HTTPStatus.NOT_FOUND, "There is no such page", "")
        return page

    def _do(self, verb: str, body: str) -> Page:
        """Call a method of Control with the arguments of a JSON object."""
        if verb not in VERBS:
            return _json({"error": f"{verb} is none of {', '.join(sorted(VERBS))}"}, HTTPStatus.NOT_FOUND)
        method: Callable[..., Any] = getattr(self._control, verb)
        try:
            arguments = msgspec.json.decode(body or "{}", type=dict[str, Any])
            types: list[str] = arguments.pop("types", []) if verb == "events" else []
            return _json(method(*types, **arguments), HTTPStatus.OK)
        except (msgspec.DecodeError, TypeError, ValueError, AssertionError) as error:
            return _json({"error": str(error)}, HTTPStatus.BAD_REQUEST)


def _json(value: Any, status: HTTPStatus) -> Page:  # whatever the method returns
    return Page(status, msgspec.json.encode(value), "application/json")
