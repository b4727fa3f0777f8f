"""Messages a second through the broker alone, against Dramatiq's own Redis broker.

Both sides: one process with Dramatiq's worker and its eight threads, Dramatiq's default middleware and JSON encoder, an
actor that only counts itself, the same Redis binary, and a queue that was filled before the clock starts. It ends when
Redis holds nothing of the queue any more, so when the last message is acknowledged and not only run.

python -m bench.broker ours|dramatiq    one side; the address comes in BENCH_REDIS_URL, the seconds go to stdout
"""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.cores import starting_on
from bench.ours import WORK_FOLDER, BenchError
from bench.rows import Cores, Row, Sample
from local.redis import Redis
from workers.broker import StreamsBroker

COUNT: Final = 20_000
WARM_COUNT: Final = 500
THREADS: Final = 8
# How often the end is looked for: less than a hundredth of the fastest round.
POLL_MS: Final = 10
SIDE_SECONDS_MAX: Final = 120.0
_QUEUE: Final = "default"


def ours(cores: Cores) -> Sample:
    return _sample("ours", cores)


def stock(cores: Cores) -> Sample:
    return _sample("dramatiq", cores)


def _sample(side: str, cores: Cores) -> Sample:
    WORK_FOLDER.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=WORK_FOLDER) as folder, starting_on(cores):
        server = Redis(Path(folder) / "redis")
        server.start()
        try:
            done = subprocess.run(
                [sys.executable, "-m", "bench.broker", side],
                env={**os.environ, "BENCH_REDIS_URL": server.url},
                capture_output=True,
                text=True,
                timeout=SIDE_SECONDS_MAX,
                check=False,
            )
        finally:
            server.stop()
    if done.returncode != 0:
        message = f"the side {side} of the broker row failed: {done.stderr.strip()[-2_000:]}"
        raise BenchError(message)
    seconds = float(done.stdout)
    return Sample(per_second=COUNT / seconds, details={"seconds": seconds})


def seconds_for(broker: StreamsBroker | RedisBroker, count: int) -> float:
    """Return the seconds a worker takes from its start to the last acknowledgement of `count` waiting messages."""
    runs = itertools.count()

    @dramatiq.actor(broker=broker, actor_name=f"empty_{count}", queue_name=_QUEUE)
    def empty() -> None:
        next(runs)

    for _ in range(count):
        empty.send()
    worker = dramatiq.Worker(broker, worker_threads=THREADS)
    started_at = time.monotonic()
    worker.start()
    broker.join(_QUEUE, interval=POLL_MS)
    seconds = time.monotonic() - started_at
    worker.stop()
    if (ran := next(runs)) != count:
        message = f"{count} messages were sent, and the actor ran {ran} times"
        raise BenchError(message)
    return seconds


_BROKERS: Final[Mapping[str, Callable[[str], StreamsBroker | RedisBroker]]] = {
    "ours": StreamsBroker,
    "dramatiq": lambda url: RedisBroker(url=url),
}


def main() -> None:
    broker = _BROKERS[sys.argv[1]](os.environ["BENCH_REDIS_URL"])
    dramatiq.set_broker(broker)
    seconds_for(broker, WARM_COUNT)
    print(seconds_for(broker, COUNT))
    broker.close()


ROW: Final = Row(
    name="broker",
    what="messages/s through the broker alone, empty actor, one process with eight threads",
    against="stock Dramatiq with its Redis broker",
    target=8.0,
    settings={"messages": COUNT, "threads": THREADS, "encoder": "JSON (Dramatiq's default)"},
    ours=ours,
    peer=stock,
)

if __name__ == "__main__":
    main()
