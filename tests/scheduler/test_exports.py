"""Exports against real servers: what is in them, that any process may go on with them, and that they end."""

import io
import zipfile
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from domain.flow import export_data
from domain.flow.export_data import LEASE, claim_export, keep_piece, make_piece, read_page
from domain.flow.request_export import find_export, request_export
from domain.model.audit import OPERATOR
from domain.model.errors import Code, RefusedError
from domain.model.export_files import ATTEMPTS_MAX, EXPORT_DAYS_MAX, EXPORTS_KEPT_MAX, FILES
from domain.model.personal_data import OWNED
from domain.store import privacy_pages, usage
from domain.store.connection import Pool, Role, StoreError, open_pool, statement, transaction
from domain.store.privacy import Export
from scheduler.exports import drop_exports, make_exports, make_one_piece
from scheduler.jobs import Clockwork
from tests.domain.admitted import accept
from tests.domain.personal_rows import KEYS, NESTED, fill, give_everything, instants, kept_rows
from tests.domain.world import TOKEN_KEY, World, make_world
from workers.broker.async_link import open_redis


@pytest.fixture
async def world(database_url: str) -> World:
    return await make_world(database_url)


@pytest.fixture
async def clockwork(database_url: str, redis_url: str) -> AsyncGenerator[Clockwork]:
    async with (
        open_redis(redis_url) as redis,
        open_pool(database_url, role=Role.ENGINE, size_max=4) as pool,
        open_pool(database_url, role=Role.ENGINE, size_max=1, statement_timeout_ms=60_000) as slow_pool,
    ):
        yield Clockwork(pool=pool, slow_pool=slow_pool, redis=redis, token_key=TOKEN_KEY)


async def user_of(world: World, account_id: UUID) -> UUID:
    rows = await world.rows("SELECT id FROM users WHERE account_id = %s", account_id)
    if not rows:
        await world.rows("INSERT INTO users (id, account_id) VALUES (%s, %s)", uuid4(), account_id)
        return await user_of(world, account_id)
    return rows[0][0]


async def ask(world: World, pool: Pool, account_id: UUID) -> UUID:
    user_id, export_id = await user_of(world, account_id), uuid4()
    async with transaction(pool) as connection:
        asked = await request_export(
            connection, export_id=export_id, account_id=account_id, user_id=user_id, actor=OPERATOR
        )
    assert (asked.export.status, asked.export.progress_percent, asked.replayed) == ("pending", 0, False)
    return export_id


async def shown(clockwork: Clockwork, account_id: UUID, export_id: UUID) -> Export:
    async with transaction(clockwork.pool) as connection:
        return await find_export(connection, account_id=account_id, export_id=export_id)


async def archive_of(world: World, export_id: UUID) -> zipfile.ZipFile:
    pieces = await world.rows("SELECT bytes FROM privacy_export_pieces WHERE export_id = %s ORDER BY piece", export_id)
    whole = b"".join(piece for (piece,) in pieces)
    assert await world.rows("SELECT size_bytes FROM privacy_exports WHERE id = %s", export_id) == [(len(whole),)]
    return zipfile.ZipFile(io.BytesIO(whole))


def files_of(archive: zipfile.ZipFile) -> dict[str, Any]:
    assert archive.testzip() is None
    return {name.removesuffix(".json"): msgspec.json.decode(archive.read(name)) for name in archive.namelist()}


async def export(world: World, clockwork: Clockwork, account_id: UUID) -> dict[str, Any]:
    export_id = await ask(world, clockwork.pool, account_id)
    while await make_one_piece(clockwork):
        pass
    assert (await shown(clockwork, account_id, export_id)).status == "ready"
    return files_of(await archive_of(world, export_id))


def exported_rows(files: dict[str, Any], table: str) -> list[dict[str, Any]]:
    rule = OWNED[table]
    rows = [*files[rule.file], *(files["messages"] if rule.file == "deliveries" else [])]
    if table in NESTED:
        rows = [inner for row in rows for inner in row[NESTED[table]]]
    return [instants({name: row[name] for name in rule.exported}) for row in rows]


def in_order(table: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: [str(row[name]) for name in KEYS.get(table, row)])


async def test_an_export_holds_every_row_and_column_as_the_database_has_them(
    world: World, clockwork: Clockwork
) -> None:
    jobs = await give_everything(world, clockwork.pool)
    await fill(world.database_url, world.creator_id)
    files = await export(world, clockwork, world.account_id)
    async with statement(clockwork.pool) as connection:
        assert await usage.count(connection), "the export was made of casts that were not counted yet"
    kept = await kept_rows(world, world.account_id)
    for table in OWNED:
        found, wanted = exported_rows(files, table), kept[table]
        if table == "privacy_exports":  # the very one had not ended when its row was written
            found, wanted = ([row for row in rows if row["status"] == "expired"] for rows in (found, wanted))
        if table == "casts":
            late = next(row for row in wanted if row["id"] == str(jobs[-1].cast_id))
            assert late["input"] == '"late"', "not dropped yet, and shown to nobody"
            late.update(dict.fromkeys(("input", "output", "log")))
        assert wanted, f"{table}: give_everything makes no row of it"
        assert in_order(table, found) == in_order(table, wanted), table
    assert {row["id"] for row in files["casts"]} == {str(job.cast_id) for job in jobs}
    assert files["casts"][0]["spell"].endswith("/wordcount")
    assert files["export"]["files"] == [file.name for file in FILES]
    assert files["export"]["account_id"] == str(world.account_id)


async def test_numbers_of_a_manifest_keep_their_digits(world: World, clockwork: Clockwork) -> None:
    await fill(world.database_url, world.account_id)
    export_id = await ask(world, clockwork.pool, world.account_id)
    await make_exports(clockwork, datetime.now(UTC))
    text = (await archive_of(world, export_id)).read("spell_versions.json")
    assert b"123456789012345678901234567890.10" in text


async def test_nothing_of_another_account_is_in_it_and_a_creator_learns_of_no_payer(
    world: World, clockwork: Clockwork
) -> None:
    jobs = await give_everything(world, clockwork.pool)
    await fill(world.database_url, world.creator_id)
    files = await export(world, clockwork, world.creator_id)
    text = msgspec.json.encode(files).decode()
    assert [row["amount_micros"] for row in files["earnings"]] != []
    assert str(world.account_id) not in text
    assert str(world.key_id) not in text
    assert not [job for job in jobs if str(job.cast_id) in text]
    mail = await world.rows("SELECT email FROM users WHERE account_id = %s", world.account_id)
    assert mail[0][0] not in text


async def test_no_secret_nor_its_hash_is_in_it(world: World, clockwork: Clockwork) -> None:
    await fill(world.database_url, world.account_id)
    await world.rows("UPDATE api_keys SET secret_hash = 'canary-of-the-hash' WHERE account_id = %s", world.account_id)
    text = msgspec.json.encode(await export(world, clockwork, world.account_id)).decode()
    assert "canary-of-the-hash" not in text
    ((hashed,),) = await world.rows("SELECT token_hash FROM sessions WHERE account_id = %s", world.account_id)
    assert hashed.hex() not in text


async def test_any_process_goes_on_after_any_piece_and_only_forward(
    world: World, clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece is begun by one that dies before it keeps it, and made by another that knows the rows alone."""
    monkeypatch.setattr(export_data, "DATA_BYTES_PER_PAGE_MAX", 1)
    jobs = await give_everything(world, clockwork.pool)
    export_id = await ask(world, clockwork.pool, world.account_id)
    now, seen, pieces = datetime.now(UTC), [0], 0
    while True:
        now += LEASE
        async with transaction(clockwork.pool) as connection:
            died = await claim_export(connection, now=now)
            assert await claim_export(connection, now=now) is None, "it is leased"
        if died is None:
            break
        async with transaction(clockwork.pool) as connection:
            claimed = await claim_export(connection, now=now + LEASE)
            assert claimed is not None
            page = await read_page(connection, claimed)
        piece = await make_piece(claimed, page)
        for kept in (True, False):
            async with transaction(clockwork.pool) as connection:
                assert await keep_piece(connection, claimed, piece, now=now) is kept, "the second changes nothing"
        seen.append((await shown(clockwork, world.account_id, export_id)).progress_percent)
        pieces += 1
    assert seen == sorted(seen)
    assert seen[-1] == 100
    assert pieces > len(jobs) + len(FILES)
    files = files_of(await archive_of(world, export_id))
    assert [row["id"] for row in files["casts"]] == sorted(str(job.cast_id) for job in jobs)
    assert len(files["messages"]) == 1


async def test_a_long_file_goes_on_in_another(
    world: World, clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_data, "MEMBER_BYTES_MAX", 1)
    jobs = await accept(world, clockwork.pool, *[world.spec()] * 3)
    files = await export(world, clockwork, world.account_id)
    parts = [files[name] for name in ("casts", "casts-2", "casts-3")]
    assert [[row["id"] for row in part] for part in parts] == [[str(job.cast_id)] for job in jobs]
    assert "casts-4" not in files
    assert files["audit"] != []
    assert files["credits"] == []


async def test_what_is_made_later_is_not_in_it(world: World, clockwork: Clockwork) -> None:
    export_id = await ask(world, clockwork.pool, world.account_id)
    instant = (await shown(clockwork, world.account_id, export_id)).created_at
    await accept(world, clockwork.pool)
    await world.rows(
        "INSERT INTO api_keys (id, account_id, prefix, secret_hash, name, created_at)"
        " VALUES (%s, %s, 'sk_live_later', 'x', 'later', %s)",
        *(uuid4(), world.account_id, instant + timedelta(microseconds=1)),
    )
    assert "pieces" in await make_exports(clockwork, datetime.now(UTC))
    files = files_of(await archive_of(world, export_id))
    assert files["casts"] == []
    assert [row["name"] for row in files["keys"]] == ["test"]
    assert instants(files["export"]["instant"]) == instants(instant.isoformat())


async def test_a_small_export_does_not_wait_for_a_large_one(world: World, clockwork: Clockwork) -> None:
    large = await ask(world, clockwork.pool, world.account_id)
    for _ in range(3):
        await make_one_piece(clockwork)
    small = await ask(world, clockwork.pool, world.creator_id)
    for _ in range(6):
        await make_one_piece(clockwork)
    rows = dict(await world.rows("SELECT id, pieces FROM privacy_exports"))
    assert rows == {large: 6, small: 3}


async def test_one_at_a_time_and_three_to_fetch(world: World, clockwork: Clockwork) -> None:
    for number in range(EXPORTS_KEPT_MAX):
        export_id = await ask(world, clockwork.pool, world.account_id)
        with pytest.raises(RefusedError) as refused:
            await ask(world, clockwork.pool, world.account_id)
        assert refused.value.refusal.code is Code.CONFLICT
        assert "being made" in refused.value.refusal.detail
        await make_exports(clockwork, datetime.now(UTC))
        assert (await shown(clockwork, world.account_id, export_id)).status == "ready", number
    with pytest.raises(RefusedError, match="can be fetched"):
        await ask(world, clockwork.pool, world.account_id)
    await ask(world, clockwork.pool, world.creator_id)
    await world.rows("UPDATE privacy_exports SET expires_at = now() WHERE id = %s", export_id)
    await ask(world, clockwork.pool, world.account_id)


async def test_an_export_is_dropped_after_a_week_and_not_before(world: World, clockwork: Clockwork) -> None:
    export_id = await ask(world, clockwork.pool, world.account_id)
    await make_exports(clockwork, datetime.now(UTC))
    ready = await shown(clockwork, world.account_id, export_id)
    assert ready.expires_at is not None
    assert ready.finished_at is not None
    assert ready.expires_at - ready.finished_at == timedelta(days=EXPORT_DAYS_MAX)
    assert await drop_exports(clockwork, ready.expires_at - timedelta(seconds=1)) == "0 exports expired"
    assert await world.rows("SELECT count(*) > 0 FROM privacy_export_pieces") == [(True,)]
    assert await drop_exports(clockwork, ready.expires_at) == "1 exports expired"
    assert await drop_exports(clockwork, ready.expires_at) == "0 exports expired"
    assert await world.rows("SELECT count(*) FROM privacy_export_pieces") == [(0,)]
    assert (await shown(clockwork, world.account_id, export_id)).status == "expired"


async def test_what_fails_again_and_again_is_given_up_and_stops_no_other(
    world: World, clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = await ask(world, clockwork.pool, world.account_id)
    query = b"SELECT 1 / (%(rows_max)s * 0)"
    queries = {**privacy_pages._QUERIES, "keys_page": query}
    monkeypatch.setattr(privacy_pages, "_QUERIES", queries)
    fails = 0
    for _ in range(ATTEMPTS_MAX + 1):
        await world.rows("UPDATE privacy_exports SET lease_until = '2026-01-01' WHERE lease_until IS NOT NULL")
        try:
            await make_exports(clockwork, datetime.now(UTC))
        except StoreError:
            fails += 1
    assert fails == ATTEMPTS_MAX
    failed = await shown(clockwork, world.account_id, bad)
    assert failed.status == "failed"
    assert "Ask for another" in (failed.error or "")
    monkeypatch.undo()
    await drop_exports(clockwork, datetime.now(UTC))
    assert await world.rows("SELECT count(*) FROM privacy_export_pieces") == [(0,)]
    await export(world, clockwork, world.account_id)
