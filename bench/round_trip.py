"""How long one cast takes from its request to its final, billed result on an idle platform, against a bare echo.

One connection, one request under way: `POST /v1/cast` with `Prefer: wait`, so through the api, Postgres, Redis, a
worker, its jailed child, the ledger's commit and back. Both sides have both cores. The figure is one second over the
median latency, so that the ratio is the echo's p50 over ours: at least a twelfth is the aim.
"""

from typing import Final

from bench.accepts import ECHO_REQUEST, running_echo
from bench.generator import Load, LoadResult, run_load
from bench.ours import BenchError, running_platform
from bench.rows import Cores, Row, Sample

CASTS: Final = 500
ECHOES: Final = 5_000
WARM: Final = 100
# Only one is ever under way; the account has its hard budget as everywhere.
ACCOUNTS: Final = 1


def ours(cores: Cores) -> Sample:
    with running_platform(cores, accounts=ACCOUNTS, path="/v1/cast", headers=[("prefer", "wait=10")]) as platform:
        for count in (WARM, CASTS):
            load = Load(port=platform.port, requests=platform.requests, connections=1, status=200, count=count)
            result = run_load(load, cores)
        platform.wait_settled()
        tally = platform.tally()
    if tally.casts != WARM + CASTS or not tally.is_sound:
        message = f"after {WARM + CASTS} casts the books are wrong: {tally}"
        raise BenchError(message)
    return _sample(result)


def echo(cores: Cores) -> Sample:
    with running_echo(cores) as port:
        for count in (WARM, ECHOES):
            load = Load(port=port, requests=[ECHO_REQUEST], connections=1, status=200, count=count)
            result = run_load(load, cores)
    return _sample(result)


def _sample(result: LoadResult) -> Sample:
    return Sample(per_second=1000 / result.p50_ms, details={"p50_ms": result.p50_ms, "p99_ms": result.p99_ms})


ROW: Final = Row(
    name="round_trip",
    what="1 / p50 of a cast with `Prefer: wait`, idle platform",
    against="1 / p50 of a bare Litestar JSON echo",
    target=1 / 12,
    settings={"casts": CASTS, "echoes": ECHOES, "connections": 1},
    ours=ours,
    peer=echo,
)
