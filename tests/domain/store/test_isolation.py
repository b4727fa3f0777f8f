"""The second layer: what the database itself refuses, whatever a query forgot. Tables come from the catalog."""

from collections.abc import AsyncGenerator
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from domain.store.connection import Pool, Role, StoreError, account_transaction, open_pool, transaction
from tests.domain.store.owned_rows import OF_THE_WORLD, ROWS, fill
from tests.domain.world import World, make_world

# A table without an owner says here why nobody owns its rows, and what keeps them from being read by a tenant.
NOBODYS: Final = {
    "billing_runs": "one row a month, for all who are billed",
    "payout_runs": "one row a month, for all who are paid",
    "artifacts": "modules compiled, by digest; workers ask for them under their token",
    "blob_pieces": "bytes by digest, which several accounts may have published alike",
    "blobs": "bytes by digest, which several accounts may have published alike",
    "device_logins": "a program nobody has let in yet; found by the hash of its secret alone",
    "login_flows": "a login under way: who it will be is not known yet",
    "magic_links": "a login under way: who it will be is not known yet",
    "price_book": "the prices of all, and public",
    "credit_packages": "what is for sale, to all",
    "reconciliation_reports": "sums over all accounts, for the operator",
    "retired_handles": "hashes of handles that nobody gets again; whose they were is not known any more",
    "scheduled_runs": "slots of the scheduler",
    "schema_migrations": "the runner's own",
    "stripe_comparisons": "one row a day, for the operator",
    "stripe_listed": "ids that Stripe named, compared with ours by the operator's platform",
    "account_ids": "ids alone, for others to refer to; no role reads it",
    "usage_uncounted": "ids of casts, whoever's, that are counted next; for the engine alone",
    "stripe_events": "ids that Stripe named; whose they are is found when they are applied",
}
# Written once: not even the engine may change or drop a row.
APPEND_ONLY: Final = (
    "artifacts",
    "audit_log",
    "blob_pieces",
    "blobs",
    "credit_consumptions",
    "credit_transactions",
    "ledger_transfers",
    "price_book",
    "reconciliation_reports",
    "usage_events",
    "usage_strays",
)
TABLES: Final = (
    "SELECT c.relname FROM pg_class c"
    " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
)
OWNED: Final = (
    f"{TABLES} AND (c.relname = 'accounts' OR EXISTS (SELECT FROM pg_attribute a"
    " WHERE a.attrelid = c.oid AND a.attname = 'account_id' AND NOT a.attisdropped))"
)
MAY: Final = "SELECT has_table_privilege(%s, %s::text, %s)"


@pytest.fixture
async def app(database_url: str) -> AsyncGenerator[Pool]:
    async with open_pool(database_url, role=Role.APP, size_max=1) as opened:
        yield opened


async def names(world: World, query: str) -> set[str]:
    return {row[0] for row in await world.rows(query)}


async def may(world: World, role: Role, table: str, right: str) -> bool:
    return (await world.rows(MAY, role.value, table, right))[0][0]


async def seen(app: Pool, tables: set[str], account_id: UUID | None) -> dict[str, int]:
    """Count the rows that spell_app finds in each table without any WHERE."""
    found: dict[str, int] = {}
    for table in sorted(tables):
        context: Any = transaction(app) if account_id is None else account_transaction(app, account_id)
        async with context as connection:
            cursor = await connection.execute(f"SELECT count(*) FROM {table}".encode())  # noqa: S608  # of the catalog
            found[table] = (await cursor.fetchone())[0]
    return found


async def test_every_table_has_an_owner_or_a_reason(world: World) -> None:
    owned = await names(world, OWNED)
    everything = await names(world, TABLES)
    assert everything - owned == set(NOBODYS), "give the table an account_id and a policy, or say why it has no owner"
    told = OF_THE_WORLD | set(ROWS)
    assert owned == told, "tests/domain/store/owned_rows.py needs a row of each table that has an owner"


async def test_no_table_shows_a_row_of_another_account(world: World, app: Pool, database_url: str) -> None:
    other = await make_world(database_url)
    for account_id in (world.account_id, world.creator_id, other.account_id):
        await fill(world, account_id)
    readable = {table for table in await names(world, OWNED) if await may(world, Role.APP, table, "SELECT")}
    assert readable >= {"accounts", "api_keys", "casts", "ledger_transfers", "sessions", "audit_log", "identities"}
    nothing = dict.fromkeys(sorted(readable), 0)
    assert await seen(app, readable, None) == nothing
    assert await seen(app, readable, uuid4()) == nothing
    both = [await seen(app, readable, account) for account in (world.account_id, world.creator_id)]
    most = {table: max(count[table] for count in both) for table in readable}
    assert most == dict.fromkeys(readable, 1), "each sees its own row, and none of the others'"


async def test_an_account_is_forgotten_with_its_transaction(world: World, app: Pool) -> None:
    """The next request on the same connection begins as nobody, also after an error."""
    async with account_transaction(app, world.account_id) as connection:
        assert (await (await connection.execute(b"SELECT count(*) FROM accounts")).fetchone()) == (1,)
    assert await seen(app, {"accounts"}, None) == {"accounts": 0}
    with pytest.raises(StoreError):
        async with account_transaction(app, world.account_id) as connection:
            await connection.execute(b"SELECT 1 / 0")
    assert await seen(app, {"accounts"}, None) == {"accounts": 0}


async def test_requests_of_an_account_change_nothing_by_themselves(world: World) -> None:
    """Every change goes through the flows, as spell_engine."""
    for table in await names(world, TABLES):
        rights = [
            right for right in ("INSERT", "UPDATE", "DELETE", "TRUNCATE") if await may(world, Role.APP, table, right)
        ]
        assert (table, rights) == (table, [])
    columns = (
        "SELECT table_name, column_name FROM information_schema.column_privileges WHERE grantee = %s"
        " AND privilege_type IN ('INSERT', 'UPDATE')"
    )
    assert await world.rows(columns, Role.APP.value) == []


@pytest.mark.parametrize("table", APPEND_ONLY)
async def test_what_is_written_once_nobody_changes(world: World, database_url: str, table: str) -> None:
    [(column,)] = await world.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum = 2", table
    )
    update, delete = f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"  # noqa: S608  # constants
    for role in Role:
        async with open_pool(database_url, role=role, size_max=1) as opened:
            for statement in (update, delete, f"TRUNCATE {table}"):
                with pytest.raises(StoreError, match="permission denied"):
                    async with transaction(opened) as connection:
                        await connection.execute(statement.encode())


async def test_the_log_of_a_living_account_is_not_forgotten(world: World, database_url: str) -> None:
    """The one way to change the log is for accounts that were erased, and for the engine."""
    forget = b"SELECT audit_forget(%s, ARRAY['name'])"
    for role, reason in ((Role.ENGINE, "is not erased"), (Role.APP, "permission denied")):
        async with open_pool(database_url, role=role, size_max=1) as opened:
            with pytest.raises(StoreError, match=reason):
                async with transaction(opened) as connection:
                    await connection.execute(forget, (world.account_id,))


async def test_every_table_with_an_owner_has_the_policy(world: World) -> None:
    """A policy forgotten, or one that says less, would show everybody's rows to the first query without a WHERE."""
    for table in await names(world, OWNED):
        [(enabled, forced)] = await world.rows(
            "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = %s::regclass", table
        )
        policies = await world.rows(
            "SELECT qual FROM pg_policies WHERE tablename = %s AND (%s = ANY(roles) OR 'public' = ANY(roles))",
            table,
            Role.APP.value,
        )
        owner = "id" if table == "accounts" else "account_id"
        own = f"({owner} = (NULLIF(current_setting('spell.account_id'::text, true), ''::text))::uuid)"
        assert (table, enabled, forced, policies) == (table, True, True, [(own,)])


async def test_partitions_are_reached_through_their_table_alone(world: World) -> None:
    """Policies are the parent's: whoever could read a partition would pass them by."""
    partitions = await names(world, TABLES.replace("NOT c.relispartition", "c.relispartition"))
    assert partitions
    for partition in partitions:
        for role in Role:
            assert not await may(world, role, partition, "SELECT"), partition


async def test_the_processes_own_nothing_and_pass_nothing_by(world: World) -> None:
    for role in Role:
        [(superuser, bypasses, makes_roles, makes_databases)] = await world.rows(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = %s", role.value
        )
        assert [superuser, bypasses, makes_roles, makes_databases] == [False] * 4
        assert await world.rows("SELECT relname FROM pg_class WHERE relowner = %s::regrole", role.value) == []
        assert await world.rows("SELECT 1 WHERE pg_has_role(%s, 'spell_owner', 'MEMBER')", role.value) == []
        assert await world.rows("SELECT 1 WHERE has_schema_privilege(%s, 'public', 'CREATE')", role.value) == []
