"""Accepting, settling and polling with millions of casts stored, against the same with ten thousand.

Both on the embedded Postgres with fsync on, over one connection: 10,000 casts of 40 accounts are accepted 250 to a
transaction, settled 500 to a transaction, and then asked for twenty at a time, with the first page of each account's
list for every 250. What is stored is final, spread over six months, with its usage events and every tenth transfer,
and has been vacuumed and analyzed, as autovacuum would have it. Its pages are full, as those of casts that ended long
ago: rows of one size would leave on each the same gap, one accepted cast would just fit into each, and every cast would
be written to another page (0.45 of the accepts with ten million of them, until each page had its one).
"""

import os
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Final
from uuid import uuid4

import psycopg
import uvloop
from psycopg import sql

from bench.ours import BenchError, Customer, make_customers
from bench.rows import Cores, Row, Sample
from bench.settle import ACCOUNTS, BATCH, EVENTS, TOKEN_KEY, accept, event_of, make_spell, postgres
from domain.flow.settle import settle_as_read
from domain.model.admission import CastSpec
from domain.model.messages import CastJob
from domain.store.casts import FIRST_ID, LAST_ID, casts_by_id, casts_list
from domain.store.connection import Pool, Role, brief_transaction, open_pool, statement
from domain.store.queries import load

_QUERIES: Final = load(__file__)
# Ten million fill 8 GiB and take a quarter of an hour for each round; a run may ask for another number.
STORED: Final = int(os.environ.get("BENCH_GROWTH_STORED", "10000000"))
STORED_BEFORE: Final = 10_000
MONTHS: Final = 6
# One statement of a fill: a million rows sort in memory and show that something goes on.
FILL_ROWS_MAX: Final = 1_000_000
# What migrations give the partitions of casts: room for the second version of those that are open.
FILLFACTOR: Final = 80
POLLED_AT_ONCE: Final = 20
POLLS_PER_LIST: Final = 250
PAGE_CASTS: Final = 20


def grown(cores: Cores) -> Sample:
    return _measured(cores, STORED)


def young(cores: Cores) -> Sample:
    return _measured(cores, STORED_BEFORE)


def _measured(cores: Cores, stored: int) -> Sample:
    with postgres(cores) as url:
        customers = uvloop.run(make_customers(url, ACCOUNTS))
        spec = make_spell(url)
        started_at = time.monotonic()
        _fill(url, customers, spec, stored)
        fill_seconds = time.monotonic() - started_at
        accept_seconds, settle_seconds, poll_seconds = uvloop.run(_work(url, customers, spec))
    return Sample(
        per_second=EVENTS / (accept_seconds + settle_seconds + poll_seconds),
        details={
            "accepted_per_second": EVENTS / accept_seconds,
            "settled_per_second": EVENTS / settle_seconds,
            "polled_per_second": EVENTS / poll_seconds,
            "stored": float(stored),
            "fill_seconds": fill_seconds,
        },
    )


def _fill(url: str, customers: Sequence[Customer], spec: CastSpec, stored: int) -> None:
    values: dict[str, object] = {
        "account_ids": [customer.account_id for customer in customers],
        "key_ids": [customer.key_id for customer in customers],
        "accounts": len(customers),
        "spell_id": spec.spell_id,
        "version_id": spec.version_id,
        "creator_id": spec.creator_id,
        "months": MONTHS,
        "stored": stored,
    }
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(b"SET synchronous_commit = off")
        connection.execute(
            b"SELECT partitions_ensure((date_trunc('month', now()) - make_interval(months => %s))::date, %s)",
            [MONTHS, MONTHS],
        )
        _set_fillfactor(connection, 100)
        for first in range(0, stored, FILL_ROWS_MAX):
            last = min(first + FILL_ROWS_MAX, stored) - 1
            connection.execute(_QUERIES["casts_fill"], {**values, "first": first, "last": last})
        _set_fillfactor(connection, FILLFACTOR)
        for name in ("usage_fill", "transfers_fill"):
            connection.execute(_QUERIES[name])
        connection.execute(b"VACUUM ANALYZE")
        connection.execute(b"CHECKPOINT")


def _set_fillfactor(connection: psycopg.Connection, percent: int) -> None:
    for (partition,) in connection.execute(_QUERIES["partitions_list"]).fetchall():
        change = sql.SQL("ALTER TABLE {} SET (fillfactor = {})")
        connection.execute(change.format(sql.Identifier(partition), sql.Literal(percent)))


async def _work(url: str, customers: Sequence[Customer], spec: CastSpec) -> tuple[float, float, float]:
    """Accept, settle and poll EVENTS casts after a warm-up; return the seconds of each."""
    per_account = EVENTS // len(customers)
    async with open_pool(url, role=Role.ENGINE, size_max=1) as pool:
        warm = await accept(pool, customers, spec, 2 * BATCH // len(customers))
        await _settle(pool, warm)
        await _poll(pool, customers, warm)
        moments = [time.monotonic()]
        jobs = await accept(pool, customers, spec, per_account)
        moments.append(time.monotonic())
        await _settle(pool, jobs)
        moments.append(time.monotonic())
        await _poll(pool, customers, jobs)
        moments.append(time.monotonic())
    accepting, settling, polling = (after - before for before, after in pairwise(moments))
    return accepting, settling, polling


async def _settle(pool: Pool, jobs: Sequence[CastJob]) -> None:
    for first in range(0, len(jobs), BATCH):
        events = [event_of(job) for job in jobs[first : first + BATCH]]
        async with brief_transaction(pool) as connection:
            settled = await settle_as_read(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)
        if len(settled.endings) != len(events):
            message = f"of {len(events)} events {len(settled.endings)} were settled; refused: {settled.parked[:1]}"
            raise BenchError(message)


async def _poll(pool: Pool, customers: Sequence[Customer], jobs: Sequence[CastJob]) -> None:
    for first in range(0, len(jobs), POLLED_AT_ONCE):
        ids = [job.cast_id for job in jobs[first : first + POLLED_AT_ONCE]]
        async with statement(pool) as connection:
            rows = await casts_by_id(connection, ids=ids)
        if not all(rows[cast_id].is_final for cast_id in ids):
            message = "a cast that was settled is not final"
            raise BenchError(message)
        if first % POLLS_PER_LIST == 0:
            await _list(pool, customers[first // POLLS_PER_LIST % len(customers)])


async def _list(pool: Pool, customer: Customer) -> None:
    async with statement(pool) as connection:
        page = await casts_list(
            connection,
            account_id=customer.account_id,
            status=None,
            spell_id=None,
            key_id=None,
            before=LAST_ID,
            after=FIRST_ID,
            limit=PAGE_CASTS,
        )
    if len(page) != PAGE_CASTS:
        message = f"the first page of a list has {len(page)} casts"
        raise BenchError(message)


ROW: Final = Row(
    name="growth",
    what=f"casts accepted, settled and polled/s with {STORED:,} casts stored",
    against=f"the same with {STORED_BEFORE:,} stored",
    target=0.9,
    settings={"casts": EVENTS, "stored": STORED, "stored_before": STORED_BEFORE, "months": MONTHS},
    ours=grown,
    peer=young,
)
