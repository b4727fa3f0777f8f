"""A cast as callers see it, made from what admission accepted or from its row. Pure; the edge only encodes it."""

import base64
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import msgspec

from domain.model.admission import Accepted
from domain.model.advice import CastWarning
from domain.model.ids import text_of
from domain.model.manifest import OutputEncoding
from domain.model.modes import Mode, mode_of_funding
from domain.model.pricing import MICROS_PER_CENT

FINAL_STATUSES: Final = frozenset({"succeeded", "failed", "canceled", "expired"})


class VersionName(msgspec.Struct, frozen=True, kw_only=True):
    """What a version is called. Versions never change, so it may be remembered."""

    spell: str
    """`owner/name`."""
    version: str
    digest: bytes
    output_encoding: OutputEncoding | None


class CastRow(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of a cast that its owner may see."""

    id: UUID
    account_id: UUID
    key_id: UUID | None
    version_id: UUID
    status: str
    accepted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    data_expires_at: datetime | None
    data_expired: bool
    """Input, output and log are gone, or must not be shown any more."""
    data_once: bool
    """They go with the first answer that shows them."""
    held_micros: int
    cost_micros: int | None
    funding: str
    output: bytes | None
    log: bytes | None
    metadata: str
    error_code: str | None
    error_message: str | None
    exit_code: int | None
    fuel: int | None
    cpu_us: int | None
    memory_bytes_peak: int | None
    wall_us: int | None
    attempts: int | None

    @property
    def mode(self) -> Mode:
        """Whether it was made with a test key."""
        return mode_of_funding(self.funding)

    @property
    def is_final(self) -> bool:
        """Whether the cast has ended; then nothing of it changes any more."""
        return self.status in FINAL_STATUSES


class ErrorView(msgspec.Struct, frozen=True, kw_only=True):
    """Why a cast did not succeed."""

    code: str
    message: str


class UsageView(msgspec.Struct, frozen=True, kw_only=True):
    """What a cast used; times are milliseconds with a fraction."""

    fuel: int | None
    cpu_ms: float | None
    memory_bytes_peak: int | None
    duration_ms: float | None
    queued_ms: float | None


class CostView(msgspec.Struct, frozen=True, kw_only=True):
    """What is held for a cast, and what it cost once it ended."""

    held_micros: int
    cost_micros: int | None
    cost_cents: int | None
    currency: str
    funding: str


class UrlsView(msgspec.Struct, frozen=True, kw_only=True):
    """Where to go from here."""

    self: str
    cancel: str
    events: str
    receipt: str


class CastView(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of a cast."""

    id: UUID
    spell: str
    version: str
    digest: str
    mode: Mode
    """`test`: a test key made it, and no money moved."""
    status: str
    output: msgspec.Raw | str | None
    output_encoding: OutputEncoding | None
    log: str
    exit_code: int | None
    error: ErrorView | None
    usage: UsageView | None
    cost: CostView
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    data_expires_at: datetime | None
    data_expired: bool
    attempts: int
    urls: UrlsView
    metadata: msgspec.Raw
    warnings: tuple[CastWarning, ...] | msgspec.UnsetType = msgspec.UNSET
    """In the answer to whoever casts a version it should leave; not there when there is nothing to say."""


def view_of_accepted(accepted: Accepted, name: VersionName, *, casts_url: str) -> CastView:
    """Return the cast as it is right after acceptance. `casts_url` is the address all casts are under."""
    return _queued(
        name,
        cast_id=accepted.cast_id,
        mode=mode_of_funding(accepted.funding),
        held_micros=accepted.held_micros,
        funding=accepted.funding,
        created_at=datetime.fromtimestamp(accepted.accepted_ms / 1000, tz=UTC),
        url=f"{casts_url}/{text_of(accepted.cast_id)}",
        metadata=msgspec.Raw(accepted.spec.metadata),
    )


def accepted_shape(name: VersionName, *, casts_url: str) -> bytes:
    """Return the JSON of casts of a version right after acceptance, with gaps for `accepted_json` to fill.

    No text of ours has the two control characters in it that stand for the gaps, within a text and for a whole value.
    """
    part: Any = "\0"
    whole: Any = "\1"
    view = _queued(
        name,
        cast_id=part,
        mode=part,
        held_micros=whole,
        funding=part,
        created_at=whole,
        url=f"{casts_url}/{part}",
        metadata=whole,
    )
    text = msgspec.json.encode(view).replace(b"%", b"%%")
    return text.replace(b"\\u0000", b"%b").replace(b'"\\u0001"', b"%b")


def accepted_json(shape: bytes, accepted: Accepted) -> bytes:
    """Return what the encoder makes of `view_of_accepted`, in a third of the time."""
    cast_id = text_of(accepted.cast_id).encode("ascii")
    return shape % (
        cast_id,
        mode_of_funding(accepted.funding).encode("ascii"),
        b"%d" % accepted.held_micros,
        accepted.funding.encode("ascii"),
        _instant(accepted.accepted_ms),
        *(cast_id, cast_id, cast_id, cast_id),
        accepted.spec.metadata.encode(),
    )


# Casts of one batch were accepted at one instant.
@lru_cache(maxsize=16)
def _instant(epoch_ms: int) -> bytes:
    return msgspec.json.encode(datetime.fromtimestamp(epoch_ms / 1000, tz=UTC))


def _queued(
    name: VersionName,
    *,
    cast_id: UUID,
    mode: Mode,
    held_micros: int,
    funding: str,
    created_at: datetime,
    url: str,
    metadata: msgspec.Raw,
) -> CastView:
    return CastView(
        id=cast_id,
        spell=name.spell,
        version=name.version,
        digest=f"sha256:{name.digest.hex()}",
        mode=mode,
        status="queued",
        output=None,
        output_encoding=None,
        log="",
        exit_code=None,
        error=None,
        usage=None,
        cost=CostView(held_micros=held_micros, cost_micros=None, cost_cents=None, currency="usd", funding=funding),
        created_at=created_at,
        started_at=None,
        finished_at=None,
        data_expires_at=None,
        data_expired=False,
        attempts=0,
        urls=_urls(url),
        metadata=metadata,
    )


def view_of_row(row: CastRow, name: VersionName, *, casts_url: str) -> CastView:
    """Return the cast as its row says it is now."""
    output_bytes = None if row.data_expired else row.output
    encoding, output = (None, None) if output_bytes is None else shown(output_bytes, name.output_encoding)
    return CastView(
        id=row.id,
        spell=name.spell,
        version=name.version,
        digest=f"sha256:{name.digest.hex()}",
        mode=row.mode,
        status=row.status,
        output=output,
        output_encoding=encoding,
        log="" if row.log is None or row.data_expired else row.log.decode("utf-8", "replace"),
        exit_code=row.exit_code,
        error=None if row.error_code is None else ErrorView(code=row.error_code, message=row.error_message or ""),
        usage=_usage(row),
        cost=CostView(
            held_micros=row.held_micros,
            cost_micros=row.cost_micros,
            cost_cents=None if row.cost_micros is None else row.cost_micros // MICROS_PER_CENT,
            currency="usd",
            funding=row.funding,
        ),
        created_at=row.accepted_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        data_expires_at=row.data_expires_at,
        data_expired=row.data_expired,
        attempts=row.attempts or 0,
        urls=_urls(f"{casts_url}/{text_of(row.id)}"),
        metadata=msgspec.Raw(row.metadata),
    )


def warned(view: CastView, warnings: tuple[CastWarning, ...]) -> CastView:
    """Return the cast with what its caller should know of the version, where there is anything."""
    return msgspec.structs.replace(view, warnings=warnings) if warnings else view


def shown(output: bytes, fixed: OutputEncoding | None) -> tuple[OutputEncoding, msgspec.Raw | str]:
    """Return how `output` is shown: as its manifest fixed it, where the bytes are that; else the first that fits.

    JSON is passed on exactly as the guest wrote it, so that a number no machine can hold stays what it is.
    """
    if fixed is OutputEncoding.BASE64:
        return fixed, base64.b64encode(output).decode("ascii")
    try:
        text = output.decode("utf-8")
    except UnicodeDecodeError:
        return OutputEncoding.BASE64, base64.b64encode(output).decode("ascii")
    if fixed is not OutputEncoding.TEXT and (raw := _as_json(output)) is not None:
        return OutputEncoding.JSON, raw
    return OutputEncoding.TEXT, text


def _as_json(output: bytes) -> msgspec.Raw | None:
    try:
        return msgspec.json.decode(output, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):  # not JSON, or nested deeper than any reader would follow
        return None


def _usage(row: CastRow) -> UsageView | None:
    if row.wall_us is None:
        return None
    queued_ms = None
    if row.started_at is not None:  # by the worker's clock, which may be behind ours
        queued_ms = max(0.0, round((row.started_at - row.accepted_at).total_seconds() * 1000, 3))
    return UsageView(
        fuel=row.fuel,
        cpu_ms=None if row.cpu_us is None else row.cpu_us / 1000,
        memory_bytes_peak=row.memory_bytes_peak,
        duration_ms=row.wall_us / 1000,
        queued_ms=queued_ms,
    )


def _urls(url: str) -> UrlsView:
    return UrlsView(self=url, cancel=f"{url}/cancel", events=f"{url}/events", receipt=f"{url}/receipt")
