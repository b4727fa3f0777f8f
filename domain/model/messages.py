"""What crosses the wire between api, worker and ledger: msgpack of these structs, each with a version `v`.

A reader that meets a version it does not know leaves the entry for a newer process.
"""

import enum
import struct
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Final
from uuid import UUID

import msgspec

from domain.model.limits import CastLimits

MESSAGE_VERSION: Final = 1
_BOUNDS: Final = struct.Struct(">5Q")
_BLOCK_BYTES: Final = 64


class Pool(enum.StrEnum):
    """A group of workers scaled on its own."""

    DEFAULT = "default"
    LARGE = "large"


class Outcome(enum.StrEnum):
    """How one execution ended, as the executor or the broker saw it."""

    SUCCEEDED = "succeeded"
    EXIT_NONZERO = "exit_nonzero"
    TRAP = "trap"
    FUEL_EXHAUSTED = "fuel_exhausted"
    MEMORY_EXCEEDED = "memory_exceeded"
    OUTPUT_TOO_LARGE = "output_too_large"
    WALL_TIME_EXCEEDED = "wall_time_exceeded"
    CANCELED = "canceled"
    SANDBOX_CRASHED = "sandbox_crashed"
    POISON = "poison"
    PLATFORM_ERROR = "platform_error"
    DEADLINE_PASSED = "deadline_passed"


class CastJob(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All a worker needs to run one cast. It holds no secret but `token`, which only proves where it came from."""

    v: int = MESSAGE_VERSION
    cast_id: UUID
    token: bytes
    """`cast_token` of the fields below; the usage event must bring it back."""
    digest: bytes
    """SHA-256 of the module, 32 bytes."""
    limits: CastLimits
    input: bytes | None
    """The guest's stdin, or None when it is longer than INLINE_BYTES_MAX and lies beside the stream."""
    accepted_ms: int
    """Epoch milliseconds by Postgres' clock."""
    deadline_ms: int
    traceparent: str | None = None


class UsageEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a worker claims about one cast. `outcome` None means: it has been running for a while and goes on."""

    v: int = MESSAGE_VERSION
    cast_id: UUID
    token: bytes
    outcome: Outcome | None
    exit_code: int | None = None
    fuel: int | None = None
    """None when the child was killed and nobody knows."""
    cpu_us: int = 0
    memory_bytes_peak: int = 0
    wall_us: int = 0
    started_ms: int = 0
    """Epoch milliseconds by the worker's clock: for showing, never for deciding."""
    finished_ms: int = 0
    output: bytes | None = None
    """None with `output_beside` when it is longer than INLINE_BYTES_MAX."""
    output_beside: bool = False
    log: bytes = b""
    message: str = ""
    """One sentence for the caller when the outcome is not `succeeded`, at most 500 characters."""
    attempts: int = 1
    units: int = 0
    """What the spell reported of its own units; a worker that does not know of them says nothing."""
    worker: str = ""
    traceparent: str | None = None


def cast_token(key: bytes, *, cast_id: UUID, digest: bytes, limits: CastLimits) -> bytes:
    """Return the 16-byte proof that api or ledger made this job: HMAC-SHA-256 over cast, module and limits."""
    bounds = _BOUNDS.pack(limits.fuel, limits.wall_ms, limits.memory_bytes, limits.output_bytes, limits.log_bytes)
    return _authenticator(key)(cast_id.bytes + digest + bounds)[:16]


@lru_cache(maxsize=4)
def _authenticator(key: bytes) -> Callable[[bytes], bytes]:
    """Return HMAC-SHA-256 (RFC 2104) under `key`, both of whose hashes take it in once and not for each cast."""
    block = (key if len(key) <= _BLOCK_BYTES else sha256(key).digest()).ljust(_BLOCK_BYTES, b"\0")
    inner, outer = (sha256(bytes([byte ^ pad for byte in block])) for pad in (0x36, 0x5C))

    def authenticate(said: bytes) -> bytes:
        first, second = inner.copy(), outer.copy()
        first.update(said)
        second.update(first.digest())
        return second.digest()

    return authenticate
