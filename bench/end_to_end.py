"""Billed casts a second from HTTP request to final row, against stock Dramatiq running an empty function.

Everything shares two cores on both sides: for us the api, the worker with its two executors, the ledger, the
scheduler, Postgres, Redis and the load generator; for Dramatiq its workers, the sender and the same Redis binary. The
clock runs from the first request to the last cast being final and billed, or the last message being acknowledged.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from redis import Redis as Client

from bench.cores import starting_on
from bench.generator import Load, run_load
from bench.ours import WORK_FOLDER, BenchError, running_platform
from bench.processor_time import cpu_us_each, processor_seconds
from bench.rows import Cores, Row, Sample
from local.redis import Redis

COUNT: Final = 20_000
# As in `accepts`: two full batches of admission, so that one gathers while the other is in Postgres. The peer is given
# all of its messages at once.
CONNECTIONS: Final = 512
# So many that none of them ever waits for a place on the wire (256 each), as with many customers at once.
ACCOUNTS: Final = 160
WARM_MESSAGES: Final = 200
DRAMATIQ_SECONDS_MAX: Final = 120.0
_POLL_SECONDS: Final = 0.02
_MESSAGES: Final = "dramatiq:default.msgs"


def ours(cores: Cores) -> Sample:
    with running_platform(cores, accounts=ACCOUNTS) as platform:
        platform.warm(cores)
        platform.wait_settled()
        before, cpu_before = platform.tally(), processor_seconds()
        load = Load(port=platform.port, requests=platform.requests, connections=CONNECTIONS, status=202, count=COUNT)
        result = run_load(load, cores)
        seconds = platform.wait_settled() - result.started_at
        cpu = cpu_us_each(cpu_before, processor_seconds(), COUNT)
        tally = platform.tally()
    if tally.casts - before.casts != COUNT or not tally.is_sound:
        message = f"after {COUNT} casts the books are wrong: {before} became {tally}"
        raise BenchError(message)
    return Sample(
        per_second=COUNT / seconds,
        details={
            "seconds": seconds,
            "accepting_seconds": result.seconds,
            "accept_p50_ms": result.p50_ms,
            "accept_p99_ms": result.p99_ms,
            "generator_cpu_us": result.cpu_seconds / COUNT * 1e6,
            **cpu,
        },
    )


def dramatiq(cores: Cores) -> Sample:
    WORK_FOLDER.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=WORK_FOLDER) as folder, starting_on(cores):
        server = Redis(Path(folder) / "redis")
        server.start()
        try:
            default = _with_workers(server.url)
            one = _with_workers(server.url, "--processes", "1")
        finally:
            server.stop()
    return Sample(per_second=default.per_second, details={**default.details, "one_process_per_second": one.per_second})


def _with_workers(url: str, *options: str) -> Sample:
    environ = {**os.environ, "BENCH_REDIS_URL": url}
    # Its program, not ours: without options it runs a process for each core with eight threads each.
    command = [str(Path(sys.executable).with_name("dramatiq")), "bench.peers.empty", *options]
    workers = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)
    try:
        with Client.from_url(url) as client:  # pyright: ignore[reportUnknownMemberType] its **kwargs are untyped
            _send_and_wait(client, environ, WARM_MESSAGES)
            before = processor_seconds()
            seconds = _send_and_wait(client, environ, COUNT)
            cpu = cpu_us_each(before, processor_seconds(), COUNT)
    finally:
        workers.terminate()
        workers.wait()
    return Sample(per_second=COUNT / seconds, details={"seconds": seconds, **cpu})


def _send_and_wait(client: Client, environ: dict[str, str], count: int) -> float:
    """Return the seconds from the first send to the last acknowledgement."""
    command = [sys.executable, "-m", "bench.peers.empty", str(count)]
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True)
    started_at = float(done.stdout)
    give_up_at = time.monotonic() + DRAMATIQ_SECONDS_MAX
    while client.hlen(_MESSAGES):  # a message stays here until it is acknowledged
        if time.monotonic() > give_up_at:
            message = f"Dramatiq did not finish {count} messages in {DRAMATIQ_SECONDS_MAX:.0f} s"
            raise BenchError(message)
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - started_at


ROW: Final = Row(
    name="end_to_end",
    what="billed casts/s on 2 cores, HTTP request to final row, load generator included",
    against="stock Dramatiq with its Redis broker running an empty function",
    target=1.5,
    settings={
        "casts": COUNT,
        "connections": CONNECTIONS,
        "accounts": ACCOUNTS,
        "worker_threads": 2,
        "dramatiq_processes": os.cpu_count() or 1,
        "dramatiq_threads": 8,
    },
    ours=ours,
    peer=dramatiq,
)
