"""The load generator: a closed loop of raw HTTP/1.1 connections, each with one request under way at a time.

It runs as a process of its own on cores of its own choosing, takes a Load as JSON on standard input and prints a
LoadResult. Requests are prepared bytes and answers are looked at only as far as needed to tell that they are whole
and have the right status, so that it costs a fraction of what any server behind it does.
"""

import array
import asyncio
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Final, cast

import msgspec
import uvloop

# A server that is silent for this long has failed; the run must say so and not hang.
SILENCE_SECONDS_MAX: Final = 30.0
REASON_CHARACTERS_MAX: Final = 2_000
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "
_STATUS: Final = slice(9, 12)


class LoadError(Exception):
    """The load could not be made, or something else than the expected status came back."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What to send. Connection i sends request i (modulo their number) again and again.

    One of `count` (requests in all) and `seconds` (no new request after that time) is set.
    """

    port: int
    requests: list[bytes]
    connections: int
    status: int
    """The only status that counts as an answer."""
    count: int | None = None
    seconds: float | None = None


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. Times in milliseconds unless named otherwise."""

    started_at: float
    """When the first request was sent, in seconds of the monotonic clock, which all processes share."""
    seconds: float
    answers: int
    """Within `seconds`; all have the expected status."""
    answers_late: int
    """To requests that were under way when the time was over."""
    p50_ms: float
    p99_ms: float
    cpu_seconds: float
    """What the generator itself used of its core."""


class _Run:
    """What all connections share."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.left = load.count if load.count is not None else math.inf
        self.started_at = time.monotonic()
        self.stop_at = math.inf if load.seconds is None else self.started_at + load.seconds
        self.open = load.connections
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answers_late = 0
        self.latencies = array.array("d")
        self.last_answer_at = self.started_at

    def fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(LoadError(reason))

    def close_one(self) -> None:
        self.open -= 1
        if self.open == 0 and not self.done.done():
            self.done.set_result(None)


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run, request: bytes) -> None:
        self._run = run
        self._request = request
        self._status = str(run.load.status).encode()
        self._received = b""
        self._sent_at = 0.0
        self._finished = False
        self._transport: asyncio.WriteTransport | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio's classes, but are none of them.
        self._transport = cast("asyncio.WriteTransport", transport)

    def send(self) -> None:
        """Send the next request, or end this connection's part when there is none."""
        run, transport = self._run, self._transport
        assert transport is not None
        now = time.monotonic()
        if run.left <= 0 or now >= run.stop_at:
            self._finished = True
            run.close_one()
            return
        run.left -= 1
        self._sent_at = now
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        head_end = data.find(_HEAD_END)
        if head_end < 0:
            self._received = data
            return
        length_at = data.find(_LENGTH, 0, head_end + 2)
        if data[_STATUS] != self._status or length_at < 0:
            text = data.decode("utf-8", "replace")
            self._run.fail(f"expected status {self._run.load.status}, got: {text[:REASON_CHARACTERS_MAX]}")
            return
        length_at += len(_LENGTH)
        if len(data) < head_end + len(_HEAD_END) + int(data[length_at : data.index(b"\r\n", length_at)]):
            self._received = data
            return
        self._received = b""
        self._note(time.monotonic())
        self.send()

    def _note(self, now: float) -> None:
        run = self._run
        if now > run.stop_at:
            run.answers_late += 1
            return
        run.latencies.append(now - self._sent_at)
        run.last_answer_at = now

    def close(self) -> None:
        """Close without a word to anybody; `lost` tells when it is done."""
        self._finished = True
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)
        if not self._finished:
            self._run.fail(f"the server closed a connection: {exc}")


async def generate(load: Load) -> LoadResult:
    """Make the load. Raises LoadError at the first answer that is not the expected one."""
    loop = asyncio.get_running_loop()
    run = _Run(load)
    connections: list[_Connection] = []
    for number in range(load.connections):
        request = load.requests[number % len(load.requests)]
        _, connection = await loop.create_connection(lambda r=request: _Connection(run, r), "127.0.0.1", load.port)
        connections.append(connection)
    try:
        cpu_seconds = await _drive(run, connections)
    finally:
        for connection in connections:
            connection.close()
        await asyncio.gather(*(connection.lost for connection in connections))
    seconds = load.seconds if load.seconds is not None else run.last_answer_at - run.started_at
    ordered = sorted(run.latencies)
    return LoadResult(
        started_at=run.started_at,
        seconds=seconds,
        answers=len(ordered),
        answers_late=run.answers_late,
        p50_ms=percentile(ordered, 50) * 1000,
        p99_ms=percentile(ordered, 99) * 1000,
        cpu_seconds=cpu_seconds,
    )


async def _drive(run: _Run, connections: Sequence[_Connection]) -> float:
    """Keep all connections busy until the load is done, and return the CPU seconds it took."""
    load = run.load
    cpu_before = time.process_time()
    run.started_at = time.monotonic()
    run.stop_at = math.inf if load.seconds is None else run.started_at + load.seconds
    for connection in connections:
        connection.send()
    await _finish(run)
    return time.process_time() - cpu_before


async def _finish(run: _Run) -> None:
    """Wait for the end, and notice a server that has fallen silent."""
    while not run.done.done():
        answers_before = len(run.latencies) + run.answers_late
        await asyncio.wait([run.done], timeout=SILENCE_SECONDS_MAX)
        if not run.done.done() and len(run.latencies) + run.answers_late == answers_before:
            run.fail(f"the server has been silent for {SILENCE_SECONDS_MAX:.0f} s")
    run.done.result()


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of the values do not exceed; NaN of nothing."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def http_request(method: str, path: str, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return the bytes of one HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + _HEAD_END + body


def run_load(load: Load, cores: Iterable[int]) -> LoadResult:
    """Make the load from another process on `cores`. Raises LoadError."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.generator", ",".join(map(str, cores))],
        input=msgspec.json.encode(load),
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise LoadError(done.stderr.decode("utf-8", "replace").strip()[-REASON_CHARACTERS_MAX:])
    return msgspec.json.decode(done.stdout, type=LoadResult)


def main() -> int:
    os.sched_setaffinity(0, [int(core) for core in sys.argv[1].split(",")])
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    try:
        result = uvloop.run(generate(load))
    except (LoadError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
