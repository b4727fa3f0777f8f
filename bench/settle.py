"""Usage events settled a second, against a plain multi-row insert of the rows that settling leaves in `usage_events`.

Both on the embedded Postgres with fsync on, over one connection, in transactions of 500. Settling locks the accounts,
reads and checks each claim, ends each cast, and moves windows, months, counters and ledger beside the usage rows. The
casts come from 40 accounts in turn, each with a hard budget, and are accepted by the platform's own admission before
the clock starts. The peer's table has the columns, checks and key of `usage_events`, and no partitions; its insert is
`INSERT ... VALUES (...), (...)` with parameters, its text built before the clock starts. Beside it stands the fastest
insert known, of one JSON text made beforehand (`one_json_text_per_second`), which is how the platform writes rows.
"""

import os
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import UUID, uuid4

import psycopg
import uvloop

from bench.cores import starting_on
from bench.ours import WORK_FOLDER, BenchError, Customer, make_customers
from bench.rows import Cores, Row, Sample
from domain.flow.reserve import reserve
from domain.flow.settle import settle_as_read
from domain.model.admission import Accepted, AdmissionRequest, CastSpec, Judged
from domain.model.admission_state import Terms
from domain.model.ids import ENTROPY_BYTES
from domain.model.jobs import job_of
from domain.model.limits import DEADLINE_MS_DEFAULT, CastLimits
from domain.model.messages import CastJob, Outcome, Pool, UsageEvent
from domain.model.pricing import Price
from domain.store.connection import Pool as DatabasePool
from domain.store.connection import Role, brief_transaction, open_pool
from local.postgres import Postgres
from migrations.runner import migrate

ACCOUNTS: Final = 40
# As many as fit on the wire at once, so that no settled cast has to name another.
CASTS_PER_ACCOUNT: Final = 250
EVENTS: Final = ACCOUNTS * CASTS_PER_ACCOUNT
BATCH: Final = 500
ADMISSION_BATCH: Final = 250
TOKEN_KEY: Final = b"k" * 32
DIGEST: Final = b"d" * 32
TERMS: Final = Terms(
    price=Price(version=1, per_cast_micros=1_000, per_gfuel_micros=1_500, platform_share_percent=20),
    free_casts_per_month=0,
    billing_enabled=False,
    metered_limit_default_micros=10**12,
)

_WORLD: Final = (
    (
        b"INSERT INTO price_book (version, per_cast_micros, per_gfuel_micros, platform_share_percent)"
        b" VALUES (1, 1000, 1500, 20) ON CONFLICT DO NOTHING"
    ),
    b"INSERT INTO blobs (digest, size_bytes) VALUES (%(digest)s, 1)",
    b"INSERT INTO accounts (id, handle, billing) VALUES (%(creator_id)s, 'creator', 'off')",
    b"INSERT INTO spells (id, account_id, name) VALUES (%(spell_id)s, %(creator_id)s, 'hello')",
    (
        b"INSERT INTO spell_versions (id, spell_id, account_id, version, digest, size_bytes, manifest)"
        b" VALUES (%(version_id)s, %(spell_id)s, %(creator_id)s, '1.0.0', %(digest)s, 1, '{}')"
    ),
)
_PLAIN_TABLE: Final = b"CREATE TABLE usage_plain (LIKE usage_events INCLUDING ALL)"
_USAGE_ROWS: Final = b"SELECT * FROM usage_events ORDER BY id"
_USAGE_ROWS_JSON: Final = b"SELECT row_to_json(u)::text FROM usage_events u ORDER BY id"
_JSON_INSERT: Final = b"INSERT INTO usage_plain SELECT * FROM json_populate_recordset(NULL::usage_plain, %s::json)"


def ours(cores: Cores) -> Sample:
    with postgres(cores) as url:
        seconds = uvloop.run(_settle_all(url))
        with psycopg.connect(url) as connection:
            _check(connection, b"SELECT count(*) FROM usage_events")
            _check(connection, b"SELECT count(*) FROM casts WHERE status = 'succeeded'")
    return Sample(per_second=EVENTS / seconds, details={"seconds": seconds})


def plain_insert(cores: Cores) -> Sample:
    with postgres(cores) as url:
        uvloop.run(_settle_all(url))  # only for the rows it leaves
        with psycopg.connect(url) as connection:
            connection.execute(_PLAIN_TABLE)
            rows = connection.execute(_USAGE_ROWS).fetchall()
            texts = [row[0] for row in connection.execute(_USAGE_ROWS_JSON)]
            connection.commit()
            seconds = _insert(connection, [_values(rows[at : at + BATCH]) for at in range(0, EVENTS, BATCH)])
            connection.execute(b"TRUNCATE usage_plain")
            connection.commit()
            whole = [(_JSON_INSERT, [f"[{','.join(texts[at : at + BATCH])}]"]) for at in range(0, EVENTS, BATCH)]
            json_seconds = _insert(connection, whole)
    details = {"seconds": seconds, "one_json_text_per_second": EVENTS / json_seconds}
    return Sample(per_second=EVENTS / seconds, details=details)


def _values(rows: Sequence[tuple[object, ...]]) -> tuple[bytes, Sequence[object]]:
    """Return the insert of `rows` as anybody would write it, and its parameters."""
    places = b"(" + b", ".join([b"%s"] * len(rows[0])) + b")"
    values = [value for row in rows for value in row]
    return b"INSERT INTO usage_plain VALUES " + b", ".join([places] * len(rows)), values


def _insert(connection: psycopg.Connection, statements: Sequence[tuple[bytes, Sequence[object]]]) -> float:
    """Run each statement in a transaction of its own; return the seconds."""
    started_at = time.monotonic()
    for statement, values in statements:
        connection.execute(statement, values)
        connection.commit()
    seconds = time.monotonic() - started_at
    _check(connection, b"SELECT count(*) FROM usage_plain")
    return seconds


@contextmanager
def postgres(cores: Cores) -> Generator[str]:
    """Run a fresh Postgres with the whole schema on `cores`; yield the owner's URL."""
    WORK_FOLDER.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=WORK_FOLDER) as folder, starting_on(cores):
        server = Postgres(Path(folder) / "postgres")
        server.start()
        try:
            uvloop.run(_migrate(server.url))
            yield server.url
        finally:
            server.stop()


async def _migrate(url: str) -> None:
    await migrate(url)


async def _settle_all(url: str) -> float:
    """Accept EVENTS casts, settle what a worker would report about them, and return the seconds of settling."""
    customers = await make_customers(url, ACCOUNTS)
    spec = make_spell(url)
    async with open_pool(url, role=Role.ENGINE, size_max=1) as pool:
        jobs = await accept(pool, customers, spec)
        events = [event_of(job) for job in jobs]
        started_at = time.monotonic()
        for first in range(0, EVENTS, BATCH):
            async with brief_transaction(pool) as connection:
                batch = events[first : first + BATCH]
                settled = await settle_as_read(connection, batch, batch_id=uuid4(), token_key=TOKEN_KEY)
            if len(settled.endings) != len(batch):
                message = f"of {len(batch)} events {len(settled.endings)} were settled; refused: {settled.parked[:1]}"
                raise BenchError(message)
        return time.monotonic() - started_at


def make_spell(url: str) -> CastSpec:
    """Make a spell with a version and the price book, in an empty database; return a cast of it."""
    spell_id, version_id, creator_id = uuid4(), uuid4(), uuid4()
    row: dict[str, UUID | bytes] = {
        "digest": DIGEST,
        "creator_id": creator_id,
        "spell_id": spell_id,
        "version_id": version_id,
    }
    with psycopg.connect(url) as connection:
        for statement in _WORLD:
            connection.execute(statement, row)
    return CastSpec(
        spell_id=spell_id,
        version_id=version_id,
        creator_id=creator_id,
        digest=DIGEST,
        pool=Pool.DEFAULT,
        limits=CastLimits(),
        input=b'"Ada"',
        deadline_ms=DEADLINE_MS_DEFAULT,
    )


async def accept(
    pool: DatabasePool, customers: Sequence[Customer], spec: CastSpec, casts_per_account: int = CASTS_PER_ACCOUNT
) -> list[CastJob]:
    """Have casts accepted, the accounts in turn, ADMISSION_BATCH to a transaction."""
    requests = [
        AdmissionRequest(account_id=customer.account_id, key_id=customer.key_id, casts=(spec,))
        for _ in range(casts_per_account)
        for customer in customers
    ]
    jobs: list[CastJob] = []
    for first in range(0, EVENTS, ADMISSION_BATCH):
        batch = requests[first : first + ADMISSION_BATCH]
        async with brief_transaction(pool) as connection:
            verdicts = await reserve(connection, batch, TERMS, entropy=os.urandom(ENTROPY_BYTES * len(batch)))
        for verdict in verdicts:
            if not isinstance(verdict, Judged) or not isinstance(verdict.results[0], Accepted):
                message = f"a cast was not accepted: {verdict}"
                raise BenchError(message)
            jobs.append(job_of(verdict.results[0], TOKEN_KEY))
    return jobs


def event_of(job: CastJob) -> UsageEvent:
    """Return what a worker reports about a cast of `hello`."""
    return UsageEvent(
        cast_id=job.cast_id,
        token=job.token,
        outcome=Outcome.SUCCEEDED,
        exit_code=0,
        fuel=20_000,
        cpu_us=200,
        memory_bytes_peak=131_072,
        wall_us=300,
        attempts=1,
        started_ms=job.accepted_ms,
        finished_ms=job.accepted_ms + 1,
        output=b'"Hello, Ada!"',
        worker="bench",
    )


def _check(connection: psycopg.Connection, query: bytes) -> None:
    row = connection.execute(query).fetchone()
    assert row is not None
    if row[0] != EVENTS:
        message = f"{EVENTS} rows were to be written; {query.decode()} finds {row[0]}"
        raise BenchError(message)


ROW: Final = Row(
    name="settle",
    what="usage events settled/s by the ledger, 500 to a transaction",
    against="plain multi-row insert of the same usage rows",
    target=0.3,
    settings={"events": EVENTS, "batch": BATCH, "accounts": ACCOUNTS, "connections": 1},
    ours=ours,
    peer=plain_insert,
)
