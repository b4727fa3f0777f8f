"""Plans that were made over empty tables still find everything by key, and look only into the months that are asked of.

A session keeps the plan it has made of a statement. What `KEYED_PLANS` is for shows only hours later and under load,
so here the plans themselves are read: over tables that were counted while they were empty.
"""

import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any, Final, cast
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from domain.model.ids import ENTROPY_BYTES, cast_id
from domain.store import admission, casts, principals, settlement
from domain.store.connection import (
    ANY_PLANS,
    KEYED_PLANS,
    Connection,
    Pool,
    Role,
    open_pool,
    statement,
    transaction,
)
from domain.store.queries import load

# EXPLAIN (GENERIC_PLAN).
GENERIC_PLANS_SINCE: Final = 160_000
_PLACE: Final = re.compile(rb"%\(([\w.]+)\)[sb]")
# Tables that stay small whatever happens: reading one whole is no harm.
_SMALL: Final = {"price_book", "spells"}
_MODULES: Final = (admission, settlement, casts, principals)
STATEMENTS: Final[Mapping[str, bytes]] = {
    f"{module.__name__.rpartition('.')[2]}.{name}": query
    for module in _MODULES
    for name, query in load(str(module.__file__)).items()
}
# Everything that names casts by id says between which ids they are.
OF_CASTS: Final = sorted(name for name, query in STATEMENTS.items() if b"%(first_id)s" in query)


@pytest.fixture(name="session")
async def session_after_analyze(pool: Pool, database_url: str) -> AsyncGenerator[Connection]:
    """A session of the engine on a database whose tables were analyzed while they were empty."""
    async with await Connection.connect(database_url, autocommit=True) as owner:
        await owner.execute(b"ANALYZE")
    async with statement(pool) as connection:
        yield connection


def numbered(query: bytes) -> tuple[bytes, list[str]]:
    """Return the query with $1, $2 … for its parameters, and their names in that order."""
    names = list(dict.fromkeys(match.decode() for match in _PLACE.findall(query)))
    return _PLACE.sub(lambda match: b"$%d" % (names.index(match[1].decode()) + 1), query), names


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield every node of a plan."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def explained(connection: Connection, query: bytes) -> list[Mapping[str, Any]]:
    cursor = await connection.execute(query, prepare=False)  # its $1 has no value
    row = await cursor.fetchone()
    assert row is not None
    return list(nodes(cast("list[Mapping[str, Any]]", row[0])[0]["Plan"]))


async def test_every_statement_finds_its_rows_by_key(session: Connection) -> None:
    if session.info.server_version < GENERIC_PLANS_SINCE:
        pytest.skip("EXPLAIN (GENERIC_PLAN) needs Postgres 16 or newer; the embedded one is")
    for name, text in STATEMENTS.items():
        query, _ = numbered(text)
        found = await explained(session, b"EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + query)
        whole = {node["Relation Name"] for node in found if node["Node Type"] == "Seq Scan"} - _SMALL
        assert not whole, f"{name} would read all of {whole}"
        joins = {node["Node Type"] for node in found if "Join Type" in node}
        assert joins <= {"Nested Loop"}, f"{name} joins by {joins}"


async def test_sessions_keep_their_plans(session: Connection) -> None:
    cursor = await session.execute(b"SHOW plan_cache_mode")
    assert await cursor.fetchone() == ("force_generic_plan",)


async def test_no_statement_is_compiled(database_url: str) -> None:
    """As servers are that nobody has set up for this."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as owner:
        await owner.execute(sql.SQL("ALTER DATABASE {} SET jit = on").format(sql.Identifier(owner.info.dbname)))
    for plans in (KEYED_PLANS, ANY_PLANS):
        async with (
            open_pool(database_url, role=Role.ENGINE, size_max=1, plans=plans) as pool,
            transaction(pool) as connection,
        ):
            cursor = await connection.execute(b"SHOW jit")
            assert await cursor.fetchone() == ("off",)


async def test_a_kept_plan_looks_into_the_months_of_the_ids_alone(session: Connection) -> None:
    cursor = await session.execute(b"SELECT (extract(epoch FROM now()) * 1000)::bigint")
    (now_ms,) = await cursor.fetchone() or (0,)
    identifier = cast_id(now_ms, sequence=0, entropy=bytes(ENTROPY_BYTES))
    values: dict[str, object] = {
        "ids": [identifier],
        "cast_ids": [identifier],
        "first_id": identifier,
        "last_id": identifier,
        "account_id": UUID(int=1),
        "rows": "[]",
        "batch_id": UUID(int=2),
    }
    for name in OF_CASTS:
        query, names = numbered(STATEMENTS[name])
        await session.execute(b"PREPARE kept AS " + query)
        arguments = sql.SQL(", ").join(sql.Literal(values.get(one)) for one in names)
        call = sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE kept({})").format(arguments)
        found = await explained(session, call.as_bytes(session))
        await session.execute(b"DEALLOCATE kept")
        assert sum(node.get("Subplans Removed", 0) for node in found) > 0, f"{name} looks into every month"
        partitions = {node["Relation Name"] for node in found if node.get("Relation Name", "").startswith("casts_")}
        assert len(partitions) == 1, f"{name} looks into {partitions}"


async def test_the_gate_looks_each_cast_up_by_its_key(pool: Pool) -> None:
    """As a new platform plans it; the plan is kept until many casts have come."""
    async with statement(pool) as connection:
        if connection.info.server_version < GENERIC_PLANS_SINCE:
            pytest.skip("EXPLAIN (GENERIC_PLAN) needs Postgres 16 or newer; the embedded one is")
        query, _ = numbered(STATEMENTS["settlement.casts_end"])
        found = await explained(connection, b"EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + query)
    conditions = [node.get("Index Cond", "") for node in found if node.get("Relation Name", "").startswith("casts_")]
    assert conditions
    assert all("id = r.id" in condition for condition in conditions), conditions


def test_every_statement_that_names_casts_says_where_they_are() -> None:
    assert OF_CASTS == [
        "casts.casts_by_id",
        "casts.casts_exist",
        "casts.casts_status",
        "settlement.accounts_lock",
        "settlement.accounts_lock_free",
        "settlement.casts_cancel_request",
        "settlement.casts_end",
        "settlement.casts_jobs",
        "settlement.casts_of_account",
        "settlement.casts_read",
        "settlement.casts_start",
    ]
