"""Which page is where."""

from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from local.stripe.control import Control
from local.stripe.errors import StripeError
from local.stripe.pages import checkout
from local.stripe.pages.html import Page, told
from local.stripe.world import World


class Ask(NamedTuple):
    """What a browser asks for."""

    method: str
    path: str
    query: str
    body: str
    content_type: str


class Pages:
    """Shows pages and does what their buttons say."""

    def __init__(self, control: Control, world: World) -> None:
        self._control: Final = control
        self._world: Final = world

    def show(self, ask: Ask) -> Page:
        """Return the page that is asked for, or what became of a button."""
        parts = ask.path.strip("/").split("/")
        fields = dict(parse_qsl(ask.query if ask.method == "GET" else ask.body, keep_blank_values=True))
        try:
            match ask.method, parts:
                case "GET", ["stripe", "checkout", session]:
                    return checkout.show(self._control, session)
                case "POST", ["stripe", "checkout", session]:
                    return checkout.press(self._control, session, fields)
                case _:
                    return told(HTTPStatus.NOT_FOUND, "There is no such page", "")
        except StripeError as error:
            return told(HTTPStatus.BAD_REQUEST, "That does not work", str(error))
