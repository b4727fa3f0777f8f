"""What is read of a webhook of Stripe's: that something changed, and of what. Pure.

The object in the event is not read: by the time it is here it may be old, and the one before it may come after it.
"""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

ID_CHARACTERS_MAX: Final = 255
# From one second to ten minutes, each pause twice the one before: about half an hour until an event is parked.
PAUSE_S_MAX: Final = 600
ATTEMPTS_MAX: Final = 12
TROUBLE_CHARACTERS_MAX: Final = 500
_SECONDS_MAX: Final = 253_402_300_799


class StripeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The news in one event."""

    id: str
    type: str
    object_id: str | None
    """Of the object it is about; a few have none."""
    customer_id: str | None
    """Whose it is, where it is a customer's or says so."""
    connected_account_id: str | None
    """The creator's account at Stripe it happened in; None: in ours."""
    made_at: datetime


class BadEventError(Exception):
    """Signed, and yet no event that anybody here understands."""


class _Object(msgspec.Struct, frozen=True):
    object: Any = None
    id: Any = None
    customer: Any = None


class _Data(msgspec.Struct, frozen=True):
    object: _Object


class _Body(msgspec.Struct, frozen=True):
    object: str
    id: str
    type: str
    created: int
    data: _Data
    account: str | None = None


_decode: Final = msgspec.json.Decoder(_Body).decode


def read_event(body: bytes) -> StripeEvent:
    """Return the event in the body of a webhook. Raises BadEventError."""
    try:
        said = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = "the body is no event"
        raise BadEventError(message) from None
    event_id, kind = _name(said.id), _name(said.type)
    if said.object != "event" or event_id is None or kind is None or not 0 <= said.created <= _SECONDS_MAX:
        message = "the body is an event of another kind"
        raise BadEventError(message)
    thing = said.data.object
    customer = thing.id if thing.object == "customer" else thing.customer
    return StripeEvent(
        id=event_id,
        type=kind,
        object_id=_name(thing.id),
        customer_id=_name(customer),
        connected_account_id=_name(said.account),
        made_at=datetime.fromtimestamp(said.created, tz=UTC),
    )


def pause_s(attempts: int) -> int:
    """Return how long to wait after the attempt of this number, from 1 on."""
    return min(2 ** min(attempts - 1, 20), PAUSE_S_MAX)


def _name(value: object) -> str | None:
    """Return an id or a type as it may be stored; the id of an object that is shown whole; else None."""
    if isinstance(value, dict):
        value = value.get("id")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # JSON of somebody else
    if not isinstance(value, str) or not 0 < len(value) <= ID_CHARACTERS_MAX or not value.isprintable():
        return None
    return value
