"""Stock Dramatiq on its Redis broker with an actor that does nothing; the address comes in BENCH_REDIS_URL.

dramatiq bench.peers.empty              its worker program, with its default settings
python -m bench.peers.empty COUNT       put COUNT messages in line and print when the first was sent
"""

import os
import sys
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_REDIS_URL"]))


@dramatiq.actor
def empty() -> None:
    """Do nothing."""


def main() -> None:
    count = int(sys.argv[1])
    print(time.monotonic(), flush=True)
    for _ in range(count):
        empty.send()


if __name__ == "__main__":
    main()
