"""Events, as they can be fetched."""

from typing import Final

from local.stripe.answers import page_of
from local.stripe.api import EVENT_LIFE_S
from local.stripe.errors import refuse_unknown
from local.stripe.shapes import BOOLEAN, RANGE, TEXT, ListOf, Params, listed, plain
from local.stripe.store import Body
from local.stripe.world import World

RETRIEVE: Final = plain("EventRetrieveParams")
LIST: Final = listed("EventListParams", created=RANGE, delivery_success=BOOLEAN, type=TEXT, types=ListOf(TEXT))


def retrieve(world: World, _params: Params, identifier: str) -> Body:
    """Return an event of the last thirty days."""
    body = world.get("event", identifier)
    if body["created"] < world.now - EVENT_LIFE_S:
        refuse_unknown("event", identifier, "id")
    return body


def list_all(world: World, params: Params) -> Body:
    """Return the events of the last thirty days, newest first."""
    kind, kinds, success = params.get("type"), params.get("types"), params.get("delivery_success")
    exact = kind if kind and "*" not in kind else None
    since = world.now - EVENT_LIFE_S
    found = (
        body
        for body in world.all("event", owner=exact)
        if body["created"] >= since
        and (kind is None or _matches(kind, body["type"]))
        and (not kinds or any(_matches(each, body["type"]) for each in kinds))
        and success in (None, body["pending_webhooks"] == 0)
    )
    return page_of(found, params, "/v1/events")


def _matches(asked: str, kind: str) -> bool:
    return kind.startswith(asked[:-1]) if asked.endswith("*") else kind == asked
