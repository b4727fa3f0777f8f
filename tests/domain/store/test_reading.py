"""The queries behind reading casts, keys and the operator's pages, on a real Postgres."""

from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from domain.model.manifest import OutputEncoding
from domain.model.modes import Mode
from domain.store import casts, ops
from domain.store.connection import Connection, Pool, Role, account_transaction, open_pool, transaction
from domain.store.principals import principals_by_prefix
from tests.api.platform import Account, Rows

NOW = datetime.now(UTC)


@pytest.fixture
def rows(database_url: str) -> Generator[Rows]:
    found = Rows(database_url)
    found.price()
    yield found
    found.close()


@pytest.fixture
def account(rows: Rows) -> Account:
    return rows.account()


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    async with open_pool(database_url, role=Role.ENGINE, size_max=2) as opened:
        yield opened


@pytest.fixture
async def connection(pool: Pool) -> AsyncGenerator[Connection]:
    async with transaction(pool) as opened:
        yield opened


def held_cast(rows: Rows, account: Account, reference: str, *, micros: int = 2_500) -> UUID:
    """A cast with its hold, as admission would have written it."""
    name = reference.partition("/")[2]
    query = "SELECT v.id, s.id FROM spell_versions v JOIN spells s ON s.id = v.spell_id WHERE s.name = %(n)s"
    ((version_id, spell_id),) = rows.execute(query, {"n": name})
    cast_id = UUID(int=(int(datetime.now(UTC).timestamp() * 1000) << 80) | (7 << 76) | (uuid4().int & ((1 << 62) - 1)))
    parameters = {"id": cast_id, "account": account.id, "key": account.key_id, "spell": spell_id, "version": version_id}
    rows.execute(
        "INSERT INTO casts (id, account_id, key_id, spell_id, version_id, status, pool, on_wire, accepted_at,"
        " deadline_at, fuel_limit, wall_ms_limit, memory_bytes_limit, output_bytes_limit, log_bytes_limit,"
        " price_version, creator_price_micros, creator_id, held_micros, funding, input)"
        " VALUES (%(id)s, %(account)s, %(key)s, %(spell)s, %(version)s, 'queued', 'default', true, now(), now(), 1, 1,"
        " 1, 1, 1, 1, 0, %(account)s, %(micros)s, 'metered', 'x')",
        {**parameters, "micros": micros},
    )
    rows.execute(
        "INSERT INTO account_months (account_id, month, held_micros)"
        " VALUES (%(account)s, date_trunc('month', now())::date, %(micros)s)"
        " ON CONFLICT (account_id, month) DO UPDATE SET held_micros = account_months.held_micros + %(micros)s",
        {**parameters, "micros": micros},
    )
    return cast_id


async def test_casts_are_found_by_id_and_listed_for_their_account(
    rows: Rows, pool: Pool, account: Account, database_url: str
) -> None:
    spell = rows.spell(account, "echo", manifest={"output_encoding": "text"})
    made = [held_cast(rows, account, spell) for _ in range(3)]
    rows.finish(made[0])
    async with transaction(pool) as connection:
        found = await casts.casts_by_id(connection, ids=[*made, uuid4()])
        assert {cast_id: row.is_final for cast_id, row in found.items()} == {
            made[0]: True,
            made[1]: False,
            made[2]: False,
        }
        assert found[made[0]].output == b"42"
        assert await casts.casts_status(connection, ids=made[:2]) == {made[0]: "succeeded", made[1]: "queued"}
        stranger = uuid4()
        assert await casts.casts_exist(connection, account_ids=[account.id], ids=[made[2], stranger]) == {made[2]}
        (name,) = (await casts.version_names(connection, ids=[found[made[0]].version_id])).values()
        assert (name.spell, name.version, name.output_encoding) == (spell, "1.0.0", OutputEncoding.TEXT)
    async with open_pool(database_url, role=Role.APP, size_max=1) as app_pool:
        for owner, expected in ((account.id, made[::-1]), (rows.account().id, [])):
            async with account_transaction(app_pool, owner) as connection:
                page = await casts.casts_list(
                    connection,
                    account_id=account.id,
                    status=None,
                    spell_id=None,
                    key_id=None,
                    mode=Mode.LIVE,
                    before=casts.LAST_ID,
                    after=casts.FIRST_ID,
                    limit=10,
                )
            assert sorted(row.id for row in page) == sorted(expected), "row-level security shows others nothing"


async def test_a_version_without_a_fixed_encoding(rows: Rows, connection: Connection, account: Account) -> None:
    rows.spell(account, "plain")
    ((version_id,),) = rows.execute("SELECT id FROM spell_versions")
    (name,) = (await casts.version_names(connection, ids=[version_id])).values()
    assert name.output_encoding is None


async def test_keys_are_found_with_their_owner_alive_or_dead(
    rows: Rows, connection: Connection, account: Account
) -> None:
    other = rows.account(rpm=None)
    rows.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %(id)s", {"id": other.key_id})
    rows.execute("UPDATE accounts SET status = 'suspended' WHERE id = %(id)s", {"id": account.id})
    found = await principals_by_prefix(connection, prefixes=[account.prefix, other.prefix, "sk_live_00000000"])
    assert set(found) == {account.prefix, other.prefix}
    assert (found[account.prefix].alive, found[account.prefix].active) == (True, False)
    assert (found[other.prefix].alive, found[other.prefix].active, found[other.prefix].rate_limit_rpm) == (
        False,
        True,
        None,
    )


async def test_holds_add_up_and_a_drift_is_seen(rows: Rows, pool: Pool, account: Account) -> None:
    spell = rows.spell(account, "echo")
    first, second = (held_cast(rows, account, spell) for _ in range(2))
    async with transaction(pool) as connection:
        listed = await ops.holds_list(connection, after=casts.FIRST_ID, limit=10)
        assert {hold.id for hold in listed} == {first, second}
        assert listed[0].handle == account.handle
        total = await ops.holds_total(connection)
        assert (total.open_casts, total.casts_held_micros, total.drift_micros) == (2, 5_000, 0)
    rows.execute("UPDATE account_months SET held_micros = held_micros + 7")
    async with transaction(pool) as connection:
        assert (await ops.holds_total(connection)).drift_micros == 7


async def test_the_operators_pages(rows: Rows, connection: Connection, account: Account) -> None:
    spell = rows.spell(account, "echo")
    cast_id = held_cast(rows, account, spell)
    rows.execute(
        "INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, month)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), 'cast', 'a', 'b', 5, %(id)s, date_trunc('month', now()))",
        {"id": account.id},
    )
    rows.execute("INSERT INTO reconciliation_reports (made_at, balanced, report) VALUES (now(), true, '{\"n\": 1}')")
    assert await ops.partition_ready(connection, now=NOW)
    assert not await ops.partition_ready(connection, now=NOW.replace(year=NOW.year + 5))
    balance = {row.name: row.credit_micros - row.debit_micros for row in await ops.trial_balance(connection, limit=10)}
    assert balance == {"a": -5, "b": 5}
    (report,) = await ops.reconciliation_latest(connection, limit=5)
    assert (report.balanced, report.report) == (True, '{"n": 1}')
    terms = await ops.cast_terms(connection, cast_id=cast_id)
    assert terms is not None
    assert (terms.account_id, terms.input, terms.creator_id) == (account.id, b"x", account.id)
    assert await ops.cast_terms(connection, cast_id=uuid4()) is None
