"""Casts: what is asked for, what comes back."""

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from spell.errors import CastFailed, CastNotFinished, OutputMissing, SpellError, UnexpectedAnswer

FINAL_STATUSES: Final = frozenset({"succeeded", "failed", "canceled", "expired"})
_NULL: Final = msgspec.Raw(b"null")


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Bounds of a cast; None leaves the spell's own. Fuel in engine units, the others as their names say."""

    fuel: int | None = None
    wall_ms: int | None = None
    memory_bytes: int | None = None
    output_bytes: int | None = None
    log_bytes: int | None = None


class CastError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a cast did not succeed: `code` to decide by, `message` to read."""

    code: str
    message: str = ""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a cast used; times are milliseconds."""

    fuel: int | None = None
    cpu_ms: float | None = None
    memory_bytes_peak: int | None = None
    duration_ms: float | None = None
    queued_ms: float | None = None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What is held for a cast at most, and what it cost; `cost_micros` is None until it ended."""

    held_micros: int
    cost_micros: int | None = None
    cost_cents: int | None = None
    currency: str = "usd"
    funding: str = ""


class Cast(msgspec.Struct, frozen=True, kw_only=True):
    """A cast as it was when the platform answered. `output` and `result()` give what the spell wrote."""

    id: str
    spell: str
    version: str
    digest: str
    mode: str = "live"
    """`test`: a test key made it, and no money moved."""
    status: str
    """`queued`, `running`, then one of `succeeded`, `failed`, `canceled`, `expired`."""
    output_encoding: str | None = None
    output_raw: msgspec.Raw = msgspec.field(name="output", default=_NULL)
    """The JSON of `output` exactly as it came."""
    log: str = ""
    exit_code: int | None = None
    error: CastError | None = None
    usage: Usage | None = None
    cost: Cost
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    data_expires_at: datetime | None = None
    data_expired: bool = False
    data_omitted: bool = False
    """In a webhook: output and log were too long for it; `casts.get()` has them."""
    attempts: int = 0
    metadata: dict[str, Any] = {}

    @property
    def is_final(self) -> bool:
        """Whether it has ended; then nothing of it changes any more."""
        return self.status in FINAL_STATUSES

    @property
    def output(self) -> Any:  # whatever JSON the spell wrote
        """What the spell wrote: JSON as Python values, text as str, anything else as bytes; None when there is none.

        UnexpectedAnswer for JSON that Python cannot hold (`output_raw` has it).
        """
        try:
            value: Any = msgspec.json.decode(self.output_raw)
        except (msgspec.MsgspecError, RecursionError) as error:
            message = f"the output of cast {self.id} cannot be read: {error}; output_raw has it as it came"
            raise UnexpectedAnswer(message) from error
        return base64.b64decode(value) if self.output_encoding == "base64" and isinstance(value, str) else value

    def result(self) -> Any:  # as output
        """Return `output` of a cast that succeeded. CastFailed when it ended otherwise, CastNotFinished before.

        OutputMissing when it is not in this answer: it expired, or a list or a webhook left it out.
        """
        if not self.is_final:
            raise CastNotFinished(self)
        if self.status != "succeeded":
            raise CastFailed(self)
        if self.output_encoding is None:
            raise OutputMissing(self)
        return self.output


class CastEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The cast reached a status. `id` resumes the stream behind it."""

    id: str
    type: str
    cast: Cast


class CastRequest(msgspec.Struct, frozen=True):
    """A cast to make. `input`: bytes go to the spell's stdin as they are, anything else as JSON; left out: no input."""

    spell: str
    input: Any = msgspec.UNSET
    limits: Limits | None = None
    deadline_ms: int | None = None
    pool: str | None = None
    max_price_micros: int | None = None
    webhook_url: str | None = None
    metadata: Mapping[str, Any] | None = None
    quote: str | None = None
    """The text of a quote: its version, prices and limits count."""

    def body(self) -> bytes:
        """Return the JSON of the request."""
        members: dict[str, Any] = {
            name: value
            for name in ("limits", "deadline_ms", "pool", "max_price_micros", "webhook_url", "metadata", "quote")
            if (value := getattr(self, name)) is not None
        }
        given: Any = self.input
        if isinstance(given, bytes | bytearray):
            members["input_base64"] = base64.b64encode(given).decode("ascii")
        elif given is not msgspec.UNSET:
            members["input"] = given
        return msgspec.json.encode({"spell": self.spell, **members})


class BatchVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one cast of a batch: either it was accepted, or `error` says why not."""

    cast: Cast | None = None
    error: SpellError | None = None

    def accepted(self) -> Cast:
        """Return the cast; raise the error when there is none."""
        if self.cast is None:
            assert self.error is not None, "a verdict is one or the other"
            raise self.error
        return self.cast
