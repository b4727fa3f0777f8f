"""Every bound of the platform, named, with the reason for its value.

Sizes are bytes, times milliseconds, fuel is the unit the pinned engine counts.
"""

from typing import Final

import msgspec

KIB: Final = 1024
MIB: Final = 1024 * KIB

# Module: the largest example (Go) is 3 MiB; 16 MiB leaves room for bundled data without hour-long compiles.
MODULE_BYTES_MAX: Final = 16 * MIB
# Interpreters (CPython is 26 MiB) are published by the operator alone.
RUNTIME_MODULE_BYTES_MAX: Final = 64 * MIB

# 10^9 fuel is about a second of the slowest code measured, and bounds the default hold to 2,500 micros.
FUEL_DEFAULT: Final = 1_000_000_000
# 10^12 fuel is more than 300 s of the fastest code, so wall time is the bound that bites.
FUEL_MAX: Final = 1_000_000_000_000

WALL_MS_DEFAULT: Final = 10_000
WALL_MS_MAX: Final = 300_000

MEMORY_BYTES_DEFAULT: Final = 64 * MIB
MEMORY_BYTES_MAX: Final = 512 * MIB

INPUT_BYTES_DEFAULT: Final = 1 * MIB
INPUT_BYTES_MAX: Final = 8 * MIB
OUTPUT_BYTES_DEFAULT: Final = 1 * MIB
OUTPUT_BYTES_MAX: Final = 10 * MIB
LOG_BYTES_MAX: Final = 64 * KIB

# A worker of the default pool promises its slot back within 30 s and fits many children into one machine.
DEFAULT_POOL_WALL_MS_MAX: Final = 30_000
DEFAULT_POOL_MEMORY_BYTES_MAX: Final = 128 * MIB

TABLE_ELEMENTS_MAX: Final = 65_536
# A WASI call costs a hundred times an instruction; without a bound a guest buys host time at the price of fuel.
HOST_CALLS_MAX: Final = 1_000_000

# What a spell may report of its own units: enough for tokens or rows, and far from where a sum of prices overflows.
UNITS_MAX: Final = 1_000_000

# Bigger blobs ride beside the stream, so that reading a batch of 256 entries never moves more than 8 MiB.
INLINE_BYTES_MAX: Final = 32 * KIB

DEADLINE_MS_DEFAULT: Final = 15 * 60 * 1000
DEADLINE_MS_MAX: Final = 24 * 60 * 60 * 1000


class CastLimits(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The bounds of one cast as a whole; what a guest does beyond any of them ends it.

    `fuel` in engine units, `wall_ms` in milliseconds of real time, the rest in bytes.
    """

    fuel: int = FUEL_DEFAULT
    wall_ms: int = WALL_MS_DEFAULT
    memory_bytes: int = MEMORY_BYTES_DEFAULT
    output_bytes: int = OUTPUT_BYTES_DEFAULT
    log_bytes: int = LOG_BYTES_MAX


# The bounds nobody may pass, whatever a manifest or a caller asks for.
LIMITS_MAX: Final = CastLimits(
    fuel=FUEL_MAX,
    wall_ms=WALL_MS_MAX,
    memory_bytes=MEMORY_BYTES_MAX,
    output_bytes=OUTPUT_BYTES_MAX,
    log_bytes=LOG_BYTES_MAX,
)
