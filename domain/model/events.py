"""What happened, as it is told to webhooks and by mail. Pure; `domain.flow.notify` writes it down for each receiver."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Final
from uuid import UUID, uuid5

import msgspec

from domain.model.cast_view import CastRow, CastView, VersionName, view_of_row
from domain.model.modes import Mode, mode_of_funding
from domain.model.settlement import Ending, Status
from domain.model.webhooks import EventType

# Many receivers take bodies of 1 MiB at most; base64 and escapes make this much into less than that.
EVENT_DATA_BYTES_MAX: Final = 256 * 1024
_MICROS_PER_DOLLAR: Final = 1_000_000
_encode: Final = msgspec.json.Encoder().encode

_TYPE_OF: Final = {
    Status.SUCCEEDED: EventType.CAST_SUCCEEDED,
    Status.FAILED: EventType.CAST_FAILED,
    Status.CANCELED: EventType.CAST_CANCELED,
    Status.EXPIRED: EventType.CAST_EXPIRED,
}


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A mail, as the payload of its row."""

    subject: str
    text: str


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing that happened to an account. Its id is the same for every receiver."""

    event_id: UUID
    account_id: UUID
    type: EventType
    mode: Mode = Mode.LIVE
    """`test` for the casts of test keys: endpoints made for tests are told, and no others."""
    cast_id: UUID | None = None
    webhook_url: str | None = None
    """A receiver beside the account's endpoints: the one the cast came with."""
    payload: str | None = None
    """JSON of `data`; None where it is made from the cast when it is sent."""
    letter: str | None = None
    """JSON of a Letter, where the account's user is told by mail as well."""
    except_endpoint_id: UUID | None = None
    """An endpoint that is not told: the event is about it."""


class ReachedWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A budget's window whose spending passed a share of the soft limit, as the settling statement left it."""

    window_id: UUID
    account_id: UUID
    budget_id: UUID
    scope: str
    scope_id: UUID
    period: str
    starts_on: date
    percent: int
    soft_limit_micros: int
    hard_limit_micros: int | None
    spent_micros: int
    held_micros: int


class SuspendedSpell(msgspec.Struct, frozen=True, kw_only=True):
    """A spell that was just taken off the platform."""

    spell_id: UUID
    creator_id: UUID
    name: str
    """`owner/name`."""
    reason: str
    suspended_at: datetime


class DisabledEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that was just given up."""

    endpoint_id: UUID
    account_id: UUID
    url: str
    failing_since: datetime
    disabled_at: datetime


class CastEventRow(CastRow, frozen=True, kw_only=True):
    """A final cast as it is read to be told of."""

    data_omitted: bool
    """Output and log were left out: they are too long for a webhook, or kept only until they are first read."""


class CastEventView(CastView, frozen=True, kw_only=True):
    """`data` of a cast's event: the cast as `GET /v1/casts/{id}` shows it, long output and logs left out."""

    data_omitted: bool


def cast_events(endings: Iterable[Ending]) -> list[Event]:
    """Return the events of casts that passed the gate and of which somebody wants to hear.

    The cast's id is the event's: a cast ends once, so it has one event.
    """
    return [
        Event(
            event_id=ending.cast.id,
            account_id=ending.cast.account_id,
            type=_TYPE_OF[ending.status],
            mode=mode_of_funding(ending.cast.funding),
            cast_id=ending.cast.id,
            webhook_url=ending.cast.webhook_url,
        )
        for ending in endings
        if ending.cast.has_webhooks or ending.cast.webhook_url is not None
    ]


def cast_data(row: CastEventRow, name: VersionName, *, casts_url: str) -> bytes:
    """Return the JSON of `data` for a cast's event. `casts_url` is the address all casts are under."""
    view = view_of_row(row, name, casts_url=casts_url)
    fields = {field: getattr(view, field) for field in CastView.__struct_fields__}
    return _encode(CastEventView(**fields, data_omitted=row.data_omitted))


def threshold_event(window: ReachedWindow) -> Event:
    """Return the event of a window that passed 50, 80 or 100 percent of its budget's soft limit."""
    told = msgspec.structs.asdict(window)
    del told["window_id"], told["account_id"]
    limit, spent = _dollars(window.soft_limit_micros), _dollars(window.spent_micros)
    stop = (
        "It has no hard limit, so casts go on."
        if window.hard_limit_micros is None
        else f"Casts go on until its hard limit, {_dollars(window.hard_limit_micros)}."
    )
    letter = Letter(
        subject=f"Budget at {window.percent} %: {spent} of {limit}",
        text=(
            f"The {window.period} budget of the {window.scope} {window.scope_id} has spent {spent} since"
            f" {window.starts_on}: {window.percent} % of its soft limit of {limit}, or more.\n{stop}\n\n"
            f"PUT /v1/budgets/{window.budget_id} changes the limits; `notify: false` ends these mails."
        ),
    )
    return Event(
        event_id=uuid5(window.window_id, f"reached {window.percent} percent"),
        account_id=window.account_id,
        type=EventType.BUDGET_THRESHOLD_REACHED,
        payload=_encode(told).decode(),
        letter=_encode(letter).decode(),
    )


def suspension_event(spell: SuspendedSpell) -> Event:
    """Return the event that tells a creator of a suspended spell."""
    letter = Letter(
        subject=f"Your spell {spell.name} is suspended",
        text=(
            f"Your spell {spell.name} was taken off the platform: {spell.reason}. Nobody can cast it until the operator"
            " has looked at it. Mend it, publish the mended version, and write to the operator."
        ),
    )
    told = {"spell_id": spell.spell_id, "spell": spell.name, "reason": spell.reason, "suspended_at": spell.suspended_at}
    return Event(
        event_id=uuid5(spell.spell_id, f"suspended {spell.suspended_at.isoformat()}"),
        account_id=spell.creator_id,
        type=EventType.SPELL_SUSPENDED,
        payload=_encode(told).decode(),
        letter=_encode(letter).decode(),
    )


def disabled_event(endpoint: DisabledEndpoint) -> Event:
    """Return the event that tells an account of an endpoint the platform gave up."""
    letter = Letter(
        subject="A webhook endpoint is disabled",
        text=(
            f"No delivery to {endpoint.url} has succeeded since {endpoint.failing_since:%Y-%m-%d %H:%M} UTC, so it"
            " gets no more of them. GET /v1/webhooks/"
            f"{endpoint.endpoint_id}/deliveries shows why; PATCH it with `enabled: true` when it is mended, and"
            " ask for a redelivery of what it missed."
        ),
    )
    told = {"webhook_id": endpoint.endpoint_id, "url": endpoint.url, "failing_since": endpoint.failing_since}
    return Event(
        event_id=uuid5(endpoint.endpoint_id, f"disabled {endpoint.disabled_at.isoformat()}"),
        account_id=endpoint.account_id,
        type=EventType.WEBHOOK_DISABLED,
        payload=_encode(told).decode(),
        letter=_encode(letter).decode(),
        except_endpoint_id=endpoint.endpoint_id,
    )


def _dollars(micros: int) -> str:
    """Return an amount in words for people: cents, and below a dollar whatever there is."""
    whole, rest = divmod(micros, _MICROS_PER_DOLLAR)
    digits = f"{rest:06d}"
    return f"${whole:,}.{digits[:2]}" if whole else f"$0.{digits.rstrip('0').ljust(2, '0')}"
