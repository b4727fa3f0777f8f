"""`python -m bench.usage_reads`: what an account with a million casts waits for its usage, over HTTP.

One account on the whole platform, with fsync, keys and logs as shipped: a million final casts of six months over
many spells and keys, with their usage events, counters, months and ledger. Then each way to look at them is asked for
again and again over one connection. Printed are p50, p95 and the slowest in milliseconds, and the processor time of api
and Postgres for one; of an export the time to its first byte and to its first thousand rows. Every look must have the
same sum, and it is the ledger's.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import httpx
import msgspec
import psycopg

from bench.cores import two_cores
from bench.machine import machine, program
from bench.ours import BenchError, Ours, running_platform
from bench.processor_time import cpu_us_each, processor_seconds
from domain.store.queries import load

_QUERIES: Final = load(__file__)
CASTS: Final = int(os.environ.get("BENCH_USAGE_CASTS", "1000000"))
SPELLS: Final = int(os.environ.get("BENCH_USAGE_SPELLS", "50"))
KEYS: Final = 10
MONTHS: Final = 6
ASKED: Final = 100
EXPORTS: Final = 30
# An export that nobody reads on is noticed with its next page; that is not the next one's time.
REST_SECONDS: Final = 0.5
EXPORTED_ROWS: Final = 1_000
TARGET_MS: Final = 50.0
# Not a look at usage, and shown beside them: what the month before and this one would be billed as.
UNBOUND: Final = frozenset({"next invoice", "a page of casts"})
SECONDS_MAX: Final = 60.0
_MICROS: Final = "cost_micros"


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """How long one way to look took."""

    name: str
    p50_ms: float
    p95_ms: float
    worst_ms: float
    cpu_ms: float
    """Of api and Postgres for one: what a machine that is busy with something else does not change."""


def main() -> int:
    """Measure and print; exit code 1 where a look takes longer than it should at p95, or a sum is another."""
    print(machine())
    print(program().revision)
    with running_platform(two_cores(), accounts=1) as ours:
        key = _fill(ours)
        with httpx.Client(
            base_url=ours.platform.url, headers={"authorization": f"Bearer {key}"}, timeout=SECONDS_MAX, trust_env=False
        ) as http:
            _check_sums(http, ours)
            found = [*_looks(http), *_exports(http)]
    for one in found:
        print(
            f"{one.name:34} p50 {one.p50_ms:7.1f} ms   p95 {one.p95_ms:7.1f} ms   worst {one.worst_ms:7.1f} ms"
            f"   cpu {one.cpu_ms:6.1f} ms"
        )
    return int(any(one.p95_ms > TARGET_MS for one in found if one.name not in UNBOUND))


def _fill(ours: Ours) -> str:
    """Write the account's past and return a key of it."""
    url = ours.platform.database_url
    with psycopg.connect(url, autocommit=True) as connection:
        values = {
            "account_id": ours.customers[0].account_id,
            "keys": KEYS,
            "spells": SPELLS,
            "casts": CASTS,
            "months": MONTHS,
        }
        connection.execute(b"SET synchronous_commit = off")
        connection.execute(
            b"SELECT partitions_ensure((date_trunc('month', now()) - make_interval(months => %s))::date, %s)",
            [MONTHS, MONTHS],
        )
        for name, query in _QUERIES.items():
            began = time.monotonic()
            connection.execute(query, values)
            print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)
        connection.execute(b"VACUUM ANALYZE")
    return ours.customers[0].key


def _months() -> tuple[str, str]:
    """Return the present month and one that is over, as the api names them."""
    now = datetime.now(UTC)
    last = now.year * 12 + now.month - 2
    return f"{now:%Y-%m}", f"{last // 12:04d}-{last % 12 + 1:02d}"


def _check_sums(http: httpx.Client, ours: Ours) -> None:
    """Refuse to measure answers that are wrong."""
    _, over = _months()
    total = http.get("/v1/usage", params={"month": over}).raise_for_status().json()[_MICROS]
    for by in ("spell", "key", "day"):
        answer = http.get("/v1/usage/breakdown", params={"month": over, "by": by}).raise_for_status().json()
        if sum(part[_MICROS] for part in answer["data"]) != total or answer["total"][_MICROS] != total:
            message = f"by {by} the usage of {over} is not {total} micros"
            raise BenchError(message)
    with psycopg.connect(ours.platform.database_url, autocommit=True) as connection:
        row = connection.execute(
            b"SELECT sum(amount_micros)::bigint FROM ledger_transfers WHERE month = %s", (f"{over}-01",)
        ).fetchone()
    if row is None or row[0] != total:
        message = f"the ledger of {over} has {row} micros, the usage {total}"
        raise BenchError(message)


def _looks(http: httpx.Client) -> list[Timed]:
    present, over = _months()
    asked: list[tuple[str, str, dict[str, str]]] = [
        ("nothing (/healthz)", "/healthz", {}),
        ("now", "/v1/usage", {}),
        ("a month that is over", "/v1/usage", {"month": over}),
        ("trends, six months", "/v1/usage/trends", {}),
        *(
            (f"breakdown by {by}, {month}", "/v1/usage/breakdown", {"by": by, "month": month})
            for by in ("spell", "key", "day")
            for month in (present, over)
        ),
        ("next invoice", "/v1/invoices/upcoming", {}),
        ("a page of casts", "/v1/casts", {}),
    ]
    return [
        _timed(name, ASKED, lambda path=path, params=params: _get(http, path, params)) for name, path, params in asked
    ]


def _get(http: httpx.Client, path: str, params: dict[str, str]) -> float:
    began = time.perf_counter()
    http.get(path, params=params).raise_for_status()
    return time.perf_counter() - began


def _exports(http: httpx.Client) -> list[Timed]:
    _, over = _months()
    return [
        _timed(f"export as {kind}, {what}", EXPORTS, lambda kind=kind, rows=rows: _export(http, kind, over, rows))
        for kind in ("csv", "json")
        for what, rows in (("first byte", 0), (f"first {EXPORTED_ROWS} rows", EXPORTED_ROWS))
    ]


def _export(http: httpx.Client, kind: str, month: str, rows: int) -> float:
    """Return how long it took until that many lines were there; the rest is not read."""
    began = time.perf_counter()
    with http.stream("GET", "/v1/usage/export", params={"format": kind, "month": month}) as answer:
        answer.raise_for_status()
        lines = 0
        for piece in answer.iter_bytes():
            lines += piece.count(b"\n")
            if lines >= rows:
                break
        seconds = time.perf_counter() - began
    time.sleep(REST_SECONDS)
    return seconds


def _timed(name: str, count: int, ask: Callable[[], float]) -> Timed:
    ask()  # what is asked for the first time is planned and read into memory
    before = processor_seconds()
    seconds: Sequence[float] = sorted(ask() for _ in range(count))
    used = cpu_us_each(before, processor_seconds(), count)
    return Timed(
        name=name,
        p50_ms=seconds[count // 2] * 1000,
        p95_ms=seconds[count * 95 // 100] * 1000,
        worst_ms=seconds[-1] * 1000,
        cpu_ms=(used["api_cpu_us"] + used["postgres_cpu_us"]) / 1000,
    )


if __name__ == "__main__":
    sys.exit(main())
