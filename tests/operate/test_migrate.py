import json
from datetime import UTC, datetime

import psycopg
import pytest

from domain.settings import ReleaseSettings, load
from migrations.files import read_folder
from operate import release
from operate.commands import register
from spell.cli import EXIT_DONE, EXIT_FAILED, EXIT_NO, EXIT_USAGE, run, spell

NAMES = [migration.file_name for migration in read_folder()]
NOW = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    register(spell)
    for name in ("DATABASE_URL", "MIGRATIONS_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_forward_back_and_the_question_between(empty_database_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    def answer(*options: str, code: int = EXIT_DONE) -> object:
        assert run(["migrate", "--database-url", empty_database_url, "--json", *options]) == code
        return json.loads(capfd.readouterr().out)

    assert answer("--check", code=EXIT_NO) == {"pending": NAMES}
    assert answer() == {"applied": NAMES}
    assert answer("--check") == {"pending": []}
    assert answer("--down", "1") == {"taken_back": NAMES[-1:]}
    assert answer("--check", code=EXIT_NO) == {"pending": NAMES[-1:]}


def test_the_owners_address_comes_from_the_environment(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/nowhere")
    monkeypatch.setenv("MIGRATIONS_DATABASE_URL", database_url)
    assert run(["migrate"]) == EXIT_DONE
    assert capfd.readouterr().out == "nothing to do: the schema is current\n"


def test_each_kind_of_trouble_has_its_exit_code_and_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["migrate"]) == EXIT_USAGE
    assert capfd.readouterr().err.startswith("error: DATABASE_URL: missing; set it")
    assert run(["migrate", "--database-url", "postgresql://127.0.0.1:1/nowhere"]) == EXIT_FAILED
    assert capfd.readouterr().err.count("\n") == 1
    assert run(["migrate", "--check", "--down", "1"]) == EXIT_USAGE


async def test_release_writes_a_price_only_when_it_changed(empty_database_url: str) -> None:
    async def released(**prices: str) -> list[str]:
        environ = {"DATABASE_URL": empty_database_url, "ARTIFACT_SIGNING_KEY": bytes(range(32)).hex(), **prices}
        lines: list[str] = []
        await release.run(load(ReleaseSettings, environ), now=NOW, report=lines.append)
        return [line for line in lines if not line.startswith(("partitions: ", "modules: "))]

    assert (await released())[-1] == "prices: version 1, 1000 micros a cast and 1500 per 10^9 fuel"
    assert (await released())[0] == "migrations: the schema is current"
    assert (await released())[-1].startswith("prices: version 1, ")
    assert (await released(COST_PER_CAST_CENTS="1"))[-1].startswith("prices: version 2, 10000 micros a cast")
    async with await psycopg.AsyncConnection.connect(empty_database_url) as connection:
        rows = await (await connection.execute("SELECT version, per_cast_micros FROM price_book ORDER BY 1")).fetchall()
    assert rows == [(1, 1000), (2, 10000)]
