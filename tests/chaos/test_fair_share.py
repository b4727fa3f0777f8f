"""One tenant with 100,000 casts in line and one key at 50 times its rate: what the others feel of it, in milliseconds.

FAIR_SHARE_CASTS sets the length of the line.
"""

import asyncio
import os
import statistics
import threading
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Self

import httpx
import msgspec
import pytest

from bench.generator import http_request, percentile
from domain.model.admission import ON_WIRE_PER_ACCOUNT_MAX
from local.servers import Servers
from tests.api.platform import Account
from tests.servers import flush_redis
from tests.stack import Stack, run_stack
from tests.system.crowd import OVERTAKEN_BY_MAX, beside, casts_of, most_on_wire, queue, waiting

CROWD_CASTS = int(os.environ.get("FAIR_SHARE_CASTS", "100000"))
# A worker on a shared core ends some hundred casts a second.
DRAIN_SECONDS_MAX = 60 + CROWD_CASTS / 100
ALONE_CASTS = 50
BESIDE_CASTS = 30
ADDED_SECONDS_MAX = 1.0
RPM = 600
TIMES_ITS_RATE = 50
ATTACK_CONNECTIONS = 16
ACCEPTS = 1_000
ACCEPTS_A_SECOND = 100


@pytest.fixture
def stack(servers: Servers, database_url: str, tmp_path: Path) -> Generator[Stack]:
    flush_redis(servers.redis_url)
    with run_stack(tmp_path, database_url, servers.redis_url, os.environ) as running:
        yield running


def timed_casts(stack: Stack, account: Account, casts: int) -> dict[str, float]:
    """Cast one after the other, each to its end; return the seconds of each by its id."""
    seconds: dict[str, float] = {}
    with stack.client(account) as http:
        for _ in range(casts):
            started = time.monotonic()
            answer = http.post("/v1/cast", json={"spell": "dev/empty"})
            assert answer.status_code == 200, answer.text
            seconds[answer.json()["id"]] = time.monotonic() - started
    return seconds


def test_one_cast_beside_a_hundred_thousand_is_a_second_later_at_most(stack: Stack) -> None:
    crowd, other = stack.account(), stack.account()
    alone = sorted(timed_casts(stack, other, ALONE_CASTS).values())
    stack.stop("worker")
    queue(stack, crowd, CROWD_CASTS)
    in_line = waiting(stack, crowd)
    stack.start("worker")
    seconds = timed_casts(stack, other, BESIDE_CASTS)
    left = waiting(stack, crowd)
    most = most_on_wire(stack, crowd, seconds=DRAIN_SECONDS_MAX)
    neighbours = [beside(stack, crowd, cast_id) for cast_id in seconds]
    added = [duration - statistics.median(alone) for duration in seconds.values()]
    print(  # noqa: T201 the figures are what the run is for
        f"\n{in_line:,} casts wait, {left:,} after {BESIDE_CASTS} of another have ended; on the wire {most} at most"
        f"\n  alone {statistics.median(alone) * 1000:.0f} ms (slowest {alone[-1] * 1000:.0f} ms),"
        f" beside them {statistics.median(added) * 1000:.0f} ms more (at most {max(added) * 1000:.0f} ms),"
        f" overtaken by {max(neighbour.ended_before for neighbour in neighbours)} at most"
    )
    assert in_line == CROWD_CASTS - ON_WIRE_PER_ACCOUNT_MAX
    assert left > 0, "the line was over too soon to show anything: make it longer"
    assert 0 < most <= ON_WIRE_PER_ACCOUNT_MAX
    assert max(neighbour.ended_before for neighbour in neighbours) <= OVERTAKEN_BY_MAX
    assert max(added) < ADDED_SECONDS_MAX
    assert casts_of(stack, crowd) == CROWD_CASTS
    assert stack.broken_books() == {}


class Attack:
    """While the context is open, a key sends 50 times what it may, whatever the answers are."""

    def __init__(self, stack: Stack, account: Account) -> None:
        body = msgspec.json.encode({"spell": "dev/empty"})
        self._request = http_request("POST", "/v1/casts", body, account.headers.items())
        self._port = httpx.URL(stack.url).port
        self._interval_seconds = 60 * ATTACK_CONNECTIONS / (RPM * TIMES_ITS_RATE)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.answers: Counter[int] = Counter()
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.seconds = time.monotonic() - self._started

    async def _run(self) -> None:
        await asyncio.gather(*(self._send() for _ in range(ATTACK_CONNECTIONS)))

    async def _send(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        due = time.monotonic()
        while not self._stop.is_set():
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
            self.answers[int(head[9:12])] += 1
            due += self._interval_seconds
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        writer.close()
        await writer.wait_closed()


def accept_times(stack: Stack, account: Account) -> list[float]:
    """Return the sorted seconds of casts that are accepted at a steady pace."""
    seconds: list[float] = []
    with stack.client(account) as http:
        due = time.monotonic()
        for _ in range(ACCEPTS):
            started = time.monotonic()
            answer = http.post("/v1/casts", json={"spell": "dev/empty"})
            seconds.append(time.monotonic() - started)
            assert answer.status_code == 202, answer.text
            due += 1 / ACCEPTS_A_SECOND
            time.sleep(max(0.0, due - time.monotonic()))
    return sorted(seconds)


def test_a_key_at_fifty_times_its_rate_is_refused_and_hardly_felt(stack: Stack) -> None:
    greedy, other = stack.account(rpm=RPM), stack.account()
    accept_times(stack, other)
    calm = accept_times(stack, other)
    with Attack(stack, greedy) as attack:
        loud = accept_times(stack, other)
    before, under = percentile(calm, 99) * 1000, percentile(loud, 99) * 1000
    print(  # noqa: T201 the figures are what the run is for
        f"\na key at {attack.answers.total() / attack.seconds * 60 / RPM:.0f} times its rate: {dict(attack.answers)};"
        f" accepting another's: p50 {percentile(calm, 50) * 1000:.1f} -> {percentile(loud, 50) * 1000:.1f} ms,"
        f" p99 {before:.1f} -> {under:.1f} ms, {under / before:.2f} times"
    )
    assert set(attack.answers) == {202, 429}
    # The rate of a whole minute may be used at once; the rest comes back as time goes by.
    assert attack.answers[202] <= RPM * (1 + attack.seconds / 60) + 1
    assert attack.answers[429] > attack.answers[202]
    assert casts_of(stack, greedy) == attack.answers[202]
    stack.settle_all()
    assert stack.broken_books() == {}
