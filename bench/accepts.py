"""Durable accepts a second of one api process on one core, against a bare Litestar echo on that core.

An accept is authenticated, counted against its rate, held against a hard budget, committed with fsync, put on the
wire, logged and counted. Postgres, Redis and the load generator have the other core. Every cast goes onto the wire,
because there are enough customers; the workers are stopped, so that their work is not in the figure.
"""

import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import httpx

from bench.cores import starting_on
from bench.generator import Load, LoadResult, http_request, run_load
from bench.ours import WORK_FOLDER, BenchError, running_platform, wait_alive
from bench.rows import Cores, Row, Sample
from local.ports import LOOPBACK, new_port
from operate.processes import API

SECONDS: Final = 4.0
# Group commit lives on requests that come together; the echo loses a tenth against its best, at 64 connections.
CONNECTIONS: Final = 512
# Each may have 256 casts on the wire: enough for all that SECONDS of the fastest round accept, and the warm-up.
ACCOUNTS: Final = 160
# As long as ours: a header and a body of the same size.
ECHO_REQUEST: Final = http_request(
    "POST", "/echo", b'{"spell":"dev/hello","input":"Ada"}', [("authorization", f"Bearer {'x' * 55}")]
)


def ours(cores: Cores) -> Sample:
    api_core, other_core = cores
    with running_platform([other_core], accounts=ACCOUNTS) as platform:
        platform.keep_only(API, api_core)
        warmed = platform.warm([other_core])
        load = Load(
            port=platform.port, requests=platform.requests, connections=CONNECTIONS, status=202, seconds=SECONDS
        )
        result = run_load(load, [other_core])
        answered = warmed + result.answers + result.answers_late
        stored, on_wire = platform.tally().casts, platform.wait_on_wire(answered)
        if stored != answered:
            message = f"{answered} requests were answered 202, and Postgres has {stored} casts"
            raise BenchError(message)
    return sample(result, on_wire_share=on_wire / answered)


def echo(cores: Cores) -> Sample:
    server_core, other_core = cores
    with running_echo([server_core]) as port:
        for seconds in (1.0, SECONDS):  # the first is the warm-up
            load = Load(port=port, requests=[ECHO_REQUEST], connections=CONNECTIONS, status=200, seconds=seconds)
            result = run_load(load, [other_core])
    return sample(result)


@contextmanager
def running_echo(cores: Sequence[int]) -> Generator[int]:
    """Run the echo on `cores` for as long as the context is open; yield its port."""
    WORK_FOLDER.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=WORK_FOLDER) as folder:
        port = new_port(Path(folder) / "port")
        with starting_on(cores):
            server = subprocess.Popen([sys.executable, "-m", "bench.peers.echo", str(port)])
        try:
            wait_alive(f"http://{LOOPBACK}:{port}", status=httpx.codes.NOT_FOUND)
            yield port
        finally:
            server.terminate()
            server.wait()


def sample(result: LoadResult, **details: float) -> Sample:
    """Return what the load generator saw."""
    return Sample(
        per_second=result.answers / result.seconds,
        details={
            "p50_ms": result.p50_ms,
            "p99_ms": result.p99_ms,
            "generator_core_share": result.cpu_seconds / result.seconds,
            **details,
        },
    )


ROW: Final = Row(
    name="accepts",
    what="durable accepts/s, one api process on one core",
    against="bare Litestar JSON echo on that core",
    target=0.60,
    settings={"seconds": SECONDS, "connections": CONNECTIONS, "accounts": ACCOUNTS},
    ours=ours,
    peer=echo,
)
