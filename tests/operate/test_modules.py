import hashlib
import shutil
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from api.spells.publishing import Publisher
from domain.store.connection import Pool, Role, open_pool
from gateways.compiler import Compiler
from gateways.signing import Signer, generate_key_pair
from operate.modules import publish_folder, recompile

BUILT = Path(__file__).parents[2] / "spells" / "built"
NOW = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    async with open_pool(database_url, role=Role.ENGINE, size_max=2) as opened:
        yield opened


@pytest.fixture
def publisher(pool: Pool) -> Publisher:
    signer = Signer(generate_key_pair().signing_key)
    return Publisher(pool, compiler=Compiler(jail="auto"), signer=signer, now=lambda: NOW)


async def rows(database_url: str, query: bytes) -> list[tuple]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        cursor = await connection.execute(query)
        return await cursor.fetchall() if cursor.description else []


async def test_a_folder_is_published_once_and_a_changed_file_again(
    database_url: str, pool: Pool, publisher: Publisher, tmp_path: Path
) -> None:
    lines: list[str] = []

    async def run() -> int:
        return await publish_folder(pool, publisher, tmp_path, now=NOW, report=lines.append)

    assert await run() == 0
    assert await publish_folder(pool, publisher, tmp_path / "missing", now=NOW, report=lines.append) == 0
    shutil.copy(BUILT / "echo.wasm", tmp_path / "my_echo.wasm")
    (tmp_path / "broken.wasm").write_bytes(b"\0asm\1\0\0\0 and nonsense")
    (tmp_path / "Été.wasm").write_bytes(b"")
    (tmp_path / "note.txt").write_text("not a module")
    assert await run() == 1
    assert await run() == 0
    assert len([line for line in lines if "broken.wasm was not published" in line]) == 2
    assert len([line for line in lines if "té.wasm was not published" in line]) == 2
    shutil.copy(BUILT / "hello.wasm", tmp_path / "my_echo.wasm")
    assert await run() == 1
    (tmp_path / "my_echo.json").write_text('{"limits": {"fuel": 12345678}}')
    assert await run() == 1
    assert await run() == 0
    (tmp_path / "my_echo.json").write_text('{"limits": {"fuel": "much"}}')
    assert await run() == 0
    assert any("my_echo.wasm was not published: The manifest" in line for line in lines)
    assert await rows(
        database_url,
        b"SELECT a.handle, a.kind, s.name, v.version FROM spell_versions v JOIN spells s ON s.id = v.spell_id"
        b" JOIN accounts a ON a.id = s.account_id ORDER BY v.version",
    ) == [("local", "platform", "my-echo", f"1.0.{patch}") for patch in range(3)]


async def test_modules_are_compiled_for_an_engine_that_has_no_artifact_of_them(
    database_url: str, pool: Pool, publisher: Publisher, tmp_path: Path
) -> None:
    lines: list[str] = []
    assert await recompile(pool, publisher, report=lines.append) == 0
    shutil.copy(BUILT / "echo.wasm", tmp_path / "echo.wasm")
    await publish_folder(pool, publisher, tmp_path, now=NOW, report=lines.append)
    assert await recompile(pool, publisher, report=lines.append) == 0
    await rows(database_url, b"UPDATE artifacts SET engine_key = 'an-older-engine'")
    assert await recompile(pool, publisher, report=lines.append) == 1
    assert await recompile(pool, publisher, report=lines.append) == 0
    ((count, digest),) = await rows(database_url, b"SELECT count(*), min(module_digest) FROM artifacts")
    assert count == 2
    assert digest == hashlib.sha256((BUILT / "echo.wasm").read_bytes()).digest()
    await rows(database_url, b"DELETE FROM artifacts WHERE engine_key <> 'an-older-engine'")
    await rows(
        database_url, b"UPDATE blob_pieces SET bytes = '\\x00' WHERE digest IN (SELECT digest FROM spell_versions)"
    )
    assert await recompile(pool, publisher, report=lines.append) == 0
    assert f"sha256:{digest.hex()} was not recompiled" in lines[-1]
