"""From what a worker claims to what is booked: check the claim, price it, say which rows it moves. Pure.

From the event come the outcome and what was measured; account, spell, price, hold and limits come from the cast row.
"""

import enum
import hmac
from collections.abc import Mapping
from typing import Final
from uuid import UUID

import msgspec

from domain.model import pricing
from domain.model.creator_price import NO_PRICE, CreatorPrice
from domain.model.funding import Funding, GrantPart
from domain.model.limits import UNITS_MAX, CastLimits
from domain.model.messages import Outcome, Pool, UsageEvent, cast_token
from domain.model.pricing import Charge, Price

MESSAGE_CHARACTERS_MAX: Final = 500


class Status(enum.StrEnum):
    """A cast goes from `queued`, perhaps over `running`, to one of the last four, which never change."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"


OPEN: Final = frozenset({Status.QUEUED, Status.RUNNING})

_STATUS_OF: Final = {
    Outcome.SUCCEEDED: Status.SUCCEEDED,
    Outcome.CANCELED: Status.CANCELED,
    Outcome.DEADLINE_PASSED: Status.EXPIRED,
}

_MESSAGE_OF: Final = {
    Outcome.CANCELED: "The cast was canceled.",
    Outcome.DEADLINE_PASSED: "The deadline passed before the cast ended.",
}


class HeldCast(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """A cast row as the gate reads it under its account's lock: what is held for it, and under which terms.

    It comes as an array of these fields in this order (`casts_read`).
    """

    id: UUID
    account_id: UUID
    key_id: UUID | None
    spell_id: UUID
    creator_id: UUID
    digest: bytes
    status: Status
    pool: Pool
    on_wire: bool
    cancel_requested: bool
    accepted_ms: int
    deadline_passed: bool
    """By Postgres' clock, when the row was read."""
    fuel_limit: int
    wall_ms_limit: int
    memory_bytes_limit: int
    output_bytes_limit: int
    log_bytes_limit: int
    price_version: int
    creator_price_micros: int
    held_micros: int
    funding: Funding
    window_ids: tuple[UUID, ...]
    grant_ids: tuple[UUID, ...]
    grant_micros: tuple[int, ...]
    data_days: int
    """How long its account keeps what it read and wrote."""
    creator_rates: tuple[int, int, int] | None = None
    """What the creator asks per KiB of output and per unit, and for how many units at most; None: neither."""
    webhook_url: str | None = None
    has_webhooks: bool = False
    """Its account has an endpoint, or somebody follows its events: there may be somebody to tell."""
    account_waits: bool = True
    """Casts of its account wait for the wire: its end gives a place to one of them."""

    @property
    def limits(self) -> CastLimits:
        """The bounds the cast was accepted under."""
        return CastLimits(
            fuel=self.fuel_limit,
            wall_ms=self.wall_ms_limit,
            memory_bytes=self.memory_bytes_limit,
            output_bytes=self.output_bytes_limit,
            log_bytes=self.log_bytes_limit,
        )

    @property
    def creator_price(self) -> CreatorPrice:
        """What the creator asks for this cast."""
        if self.creator_rates is None:
            return CreatorPrice(per_cast_micros=self.creator_price_micros) if self.creator_price_micros else NO_PRICE
        per_output_kib, per_unit, units_max = self.creator_rates
        return CreatorPrice(
            per_cast_micros=self.creator_price_micros,
            per_output_kib_micros=per_output_kib,
            per_unit_micros=per_unit,
            units_max=units_max,
        )

    @property
    def grants(self) -> tuple[GrantPart, ...]:
        """What the hold took from which grant, in order."""
        pairs = zip(self.grant_ids, self.grant_micros, strict=True)
        return tuple(GrantPart(grant_id=grant_id, micros=micros) for grant_id, micros in pairs)


class Ending(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How one cast ends, whoever ends it: all the gate writes to its row."""

    cast: HeldCast
    outcome: Outcome
    charge: Charge
    message: str = ""
    exit_code: int | None = None
    fuel: int | None = None
    cpu_us: int = 0
    memory_bytes_peak: int = 0
    wall_us: int = 0
    started_ms: int | None = None
    finished_ms: int | None = None
    """None: the moment of the gate."""
    attempts: int = 0
    units: int = 0
    output: bytes | None = None
    log: bytes | None = None

    @property
    def status(self) -> Status:
        """The final status this outcome gives."""
        return _STATUS_OF.get(self.outcome, Status.FAILED)

    @property
    def error_code(self) -> str | None:
        """The code callers see; None for a success."""
        return None if self.outcome is Outcome.SUCCEEDED else self.outcome.value


class BadClaimError(Exception):
    """A usage event that must not be believed; the text says why. It is parked and moves no money."""


def check_origin(event: UsageEvent, cast: HeldCast, token_key: bytes) -> None:
    """Raise BadClaimError when `event` does not come from a worker that was sent this cast."""
    expected = cast_token(token_key, cast_id=cast.id, digest=cast.digest, limits=cast.limits)
    if not hmac.compare_digest(event.token, expected):
        reason = "the token is not the one this cast was sent with"
        raise BadClaimError(reason)


def check_claim(event: UsageEvent, cast: HeldCast) -> None:
    """Raise BadClaimError when `event` cannot be what an honest worker says about the open cast `cast`."""
    reason = _fault_of_figures(event, cast) or _fault_of_outcome(event, cast)
    if reason is not None:
        raise BadClaimError(reason)


def _fault_of_figures(event: UsageEvent, cast: HeldCast) -> str | None:
    if event.fuel is not None and not 0 <= event.fuel <= cast.fuel_limit:
        return "fuel is negative or over the cast's limit"
    if len(event.output or b"") > cast.output_bytes_limit:
        return "the output is longer than the cast's limit"
    if len(event.log) > cast.log_bytes_limit:
        return "the log is longer than the cast's limit"
    if event.cpu_us < 0 or event.memory_bytes_peak < 0 or event.wall_us < 0 or event.attempts < 0:
        return "a measured figure is negative"
    if not 0 <= event.units <= UNITS_MAX:
        return "the units are negative or more than anybody can report"
    return None


def _fault_of_outcome(event: UsageEvent, cast: HeldCast) -> str | None:
    if event.outcome is Outcome.SUCCEEDED and (event.output is None or event.exit_code != 0):
        return "a success needs an output and exit code 0"
    if event.outcome is Outcome.CANCELED and not cast.cancel_requested:
        return "nobody asked to cancel this cast"
    if event.outcome is Outcome.DEADLINE_PASSED and not cast.deadline_passed:
        return "the deadline has not passed"
    return None


def ending_of(event: UsageEvent, cast: HeldCast, prices: Mapping[int, Price]) -> Ending:
    """Return how `cast` ends by a checked claim, priced by the cast's own price version."""
    assert event.outcome is not None
    return Ending(
        cast=cast,
        outcome=event.outcome,
        charge=_charge(event, cast, prices),
        message="" if event.outcome is Outcome.SUCCEEDED else _sentence(event),
        exit_code=event.exit_code,
        fuel=event.fuel,
        cpu_us=event.cpu_us,
        memory_bytes_peak=event.memory_bytes_peak,
        wall_us=event.wall_us,
        started_ms=event.started_ms or None,
        finished_ms=event.finished_ms or None,
        attempts=event.attempts,
        units=event.units,
        output=event.output,
        log=event.log,
    )


def _charge(event: UsageEvent, cast: HeldCast, prices: Mapping[int, Price]) -> Charge:
    assert event.outcome is not None
    if cast.funding is Funding.TEST:
        return pricing.NOTHING
    return pricing.charge(
        prices[cast.price_version],
        cast.creator_price,
        held_micros=cast.held_micros,
        outcome=event.outcome,
        fuel=event.fuel,
        started=event.started_ms > 0,
        output_bytes=len(event.output or b""),
        units=event.units,
    )


def ending_without_run(cast: HeldCast, outcome: Outcome, message: str = "") -> Ending:
    """Return how a cast ends that nobody ran to its end: canceled before start, expired, or failed by the platform."""
    assert outcome in {Outcome.CANCELED, Outcome.DEADLINE_PASSED, Outcome.PLATFORM_ERROR}
    return Ending(cast=cast, outcome=outcome, charge=pricing.NOTHING, message=message or _MESSAGE_OF.get(outcome, ""))


def _sentence(event: UsageEvent) -> str:
    assert event.outcome is not None
    text = event.message or _MESSAGE_OF.get(event.outcome, "")
    return text[:MESSAGE_CHARACTERS_MAX].replace("\x00", "�")
