"""What parent and child say to each other: a 4-byte big-endian length, then msgpack of one struct.

The structs are encoded as arrays: both ends are the same revision of the same program, started by one another.
"""

import enum
import struct
from typing import Final
from uuid import UUID

import msgspec

from domain.model.limits import INPUT_BYTES_MAX, KIB, LOG_BYTES_MAX, OUTPUT_BYTES_MAX, CastLimits
from domain.model.messages import Outcome

LENGTH_PREFIX: Final = struct.Struct(">I")
# The answer, an empty frame, to a cast whose turn came too late.
NOT_BEGUN: Final = b""
# What a frame holds beside input, output and log: names, numbers, and a message of 500 characters.
_FRAME_ENVELOPE_BYTES_MAX: Final = 16 * KIB
REQUEST_BYTES_MAX: Final = INPUT_BYTES_MAX + _FRAME_ENVELOPE_BYTES_MAX
ANSWER_BYTES_MAX: Final = OUTPUT_BYTES_MAX + LOG_BYTES_MAX + _FRAME_ENVELOPE_BYTES_MAX
MESSAGE_CHARACTERS_MAX: Final = 500


class JailMode(enum.StrEnum):
    """How much of the jail must hold before a child runs anything."""

    REQUIRED = "required"
    """Refuse to start when one of the essential layers is missing."""
    AUTO = "auto"
    """Take every layer the kernel offers and report the rest."""
    OFF = "off"
    """None, for debugging the executor itself."""


class JailLayer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of the jail: whether it holds, and if not, why."""

    name: str
    active: bool
    essential: bool
    detail: str = ""


class ChildConfig(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The first frame to a child."""

    artifact_folder: str
    verify_key: str
    """Base64 of the Ed25519 public key that every artifact's signature must satisfy."""
    jail: JailMode
    parent_pid: int
    bell: int
    """The descriptor to write one byte to when a batch is answered: the parent sleeps until then."""
    moves_cpu_limit: bool
    """The parent may not move the child's RLIMIT_CPU (root without CAP_SYS_RESOURCE), so the child does."""


class ChildReady(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The first frame from a child. With `error` it is also the last."""

    engine_version: str = ""
    engine_key: str = ""
    jail: tuple[JailLayer, ...] = ()
    error: str = ""


class CastFrame(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One cast, as the child sees it. It learns neither whose it is nor what it costs."""

    digest: bytes
    limits: CastLimits
    input: bytes


class BatchFrame(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Casts to run one after the other, each with a frame for its answer; often it is one."""

    casts: tuple[CastFrame, ...]
    begin_by_ns: int = 0
    """CLOCK_MONOTONIC: behind the first, what is not begun by then is not run, and the answer is NOT_BEGUN."""


class ExecuteRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One cast, as the worker asks for it."""

    cast_id: UUID
    digest: bytes
    """SHA-256 of the module, 32 bytes; its artifact lies in the executor's artifact folder."""
    limits: CastLimits
    input: bytes


class ExecuteResult(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """How one cast ended."""

    outcome: Outcome
    exit_code: int | None = None
    """The guest's own exit code; None when it did not get to one."""
    fuel: int | None = None
    """Fuel used, at most the limit; None when the child was killed and nobody knows."""
    cpu_us: int = 0
    wall_us: int = 0
    memory_bytes_peak: int = 0
    """Size of the guest's linear memory at its end, which is its greatest: it never shrinks."""
    output: bytes = b""
    log: bytes = b""
    message: str = ""
    """One sentence for the caller when the outcome is not `succeeded`."""
    units: int = 0
    """What the guest reported of its own units, at most UNITS_MAX."""


class FrameTooLargeError(Exception):
    """The other side announced a frame beyond the bound of its direction."""


def cpu_seconds_limit(used_seconds: float, wall_ms: int) -> int:
    """Return RLIMIT_CPU for the next cast: what the process has used, the cast's wall time, a second, rounded up."""
    return int(used_seconds + wall_ms / 1000) + 2
