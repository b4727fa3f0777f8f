"""The doctor says what is wrong and how to mend it, each for one thing that was made wrong on purpose."""

import asyncio
import json
import shutil
from collections import namedtuple
from collections.abc import Generator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from domain.store.connection import Role
from domain.store.health import RoleFacts, ServerFacts
from local.postgres import Postgres
from local.redis import Redis as EmbeddedRedis
from migrations.runner import migrate
from operate import examine_machine
from operate.commands import register
from operate.dev_secrets import DevSecrets
from operate.doctor import examine_settings
from operate.examine_machine import examine_disk, judge_engine, judge_jail
from operate.examine_servers import (
    examine_postgres,
    examine_redis,
    judge_clock,
    judge_postgres,
    judge_redis,
    judge_roles,
)
from operate.findings import Finding, Level
from spell.cli import EXIT_DONE, EXIT_FAILED, run, spell
from tests.api.platform import api_environment
from workers.executor.advisories import OPEN_ADVISORIES, REVIEWED_ENGINE_VERSION, REVIEWED_ON
from workers.executor.protocol import JailLayer

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SETTING_NAMES = ("MIGRATIONS_DATABASE_URL", "ENGINE_DATABASE_URL", "DATABASE_URL", "REDIS_URL", "ARTIFACT_VERIFY_KEY")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    register(spell)
    for name in SETTING_NAMES:
        monkeypatch.delenv(name, raising=False)


def answer(capfd: pytest.CaptureFixture[str], *options: str, code: int) -> dict[str, dict[str, Any]]:
    """Run the command; return its findings by name."""
    capfd.readouterr()
    assert run(["doctor", "--json", *options]) == code
    report = json.loads(capfd.readouterr().out)
    assert report["healthy"] is (code == EXIT_DONE)
    for finding in report["findings"]:
        assert (finding["level"] == "ok") is ("fix" not in finding), finding
    return {finding["name"]: finding for finding in report["findings"]}


def postgres(url: str) -> dict[str, Finding]:
    found = asyncio.run(examine_postgres(url, clock=lambda: datetime.now(UTC)))
    return {finding.name: finding for finding in found}


@pytest.fixture
def durable_url(tmp_path: Path) -> Generator[str]:
    """A database on a Postgres as it is shipped; that of the run does without fsync, which is a problem."""
    server = Postgres(tmp_path / "postgres")
    server.start()
    asyncio.run(migrate(server.url))
    yield server.url
    server.stop()


def test_a_whole_installation_is_well(
    durable_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in api_environment(durable_url, redis_url, 8080).items():
        monkeypatch.setenv(name, value)
    found = answer(capfd, code=EXIT_DONE)
    assert {"settings release", "settings api", "settings ledger", "settings scheduler"} < found.keys()
    assert "settings worker" not in found
    for name in ("postgres", "clock", "roles", "migrations", "partitions", "redis", "python", "engine"):
        assert found[name]["level"] == "ok", found[name]
    assert len(found["engine"]["notes"]) == len(OPEN_ADVISORIES)
    assert any(note.startswith("seccomp: ") for note in found["jail"]["notes"])
    assert run(["doctor", "--verbose"]) == EXIT_DONE
    text = capfd.readouterr().out
    assert "ok       migrations: the schema is current" in text
    assert OPEN_ADVISORIES[0].advisory in text
    assert "0 problems" in text


def test_nothing_set_names_every_setting_and_its_remedy(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == EXIT_FAILED
    text = capfd.readouterr().out
    assert "PROBLEM  settings api: DATABASE_URL: missing" in text
    assert "-> set it to postgresql://" in text
    assert "settings ledger: CAST_TOKEN_KEY: missing" in text


def test_a_worker_is_judged_by_its_own_environment(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"REDIS_URL": redis_url, "ARTIFACT_VERIFY_KEY": "0123456789abcdef" * 4}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORKER_TOKEN", "0123456789abcdef0123456789abcdef")
    found = answer(capfd, code=EXIT_DONE)
    assert found["settings worker"]["level"] == "ok"
    assert "postgres" not in found
    monkeypatch.setenv("DATABASE_URL", "postgresql://spell@localhost/spell")
    leaked = answer(capfd, "--process", "worker", code=EXIT_FAILED)["settings worker"]
    assert "must not be in a worker's environment" in leaked["detail"]
    assert "give workers an environment of their own" in leaked["fix"]


def test_servers_that_are_not_there(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    dead = api_environment("postgresql://spell:hunter2@127.0.0.1:1/spell", "redis://:hunter2@127.0.0.1:1/0", 8080)
    for name, value in dead.items():
        monkeypatch.setenv(name, value)
    found = answer(capfd, "--process", "ledger", code=EXIT_FAILED)
    assert "DATABASE_URL" in found["postgres"]["fix"]
    assert "REDIS_URL" in found["redis"]["fix"]
    assert "hunter2" not in json.dumps(found)


def test_a_schema_that_is_missing(empty_database_url: str) -> None:
    found = postgres(empty_database_url)
    assert found["migrations"].level is Level.PROBLEM
    assert "0001_spine.sql" in found["migrations"].detail
    assert found["migrations"].fix == "run `spell migrate`"
    assert "partitions" not in found


def test_a_month_without_a_partition(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET ROLE spell_owner")
        connection.execute("SELECT partition_drop((date_trunc('month', now()) + interval '1 month')::date)")
    found = postgres(database_url)
    assert found["partitions"].level is Level.PROBLEM
    assert "spell release" in found["partitions"].fix


def test_a_redis_that_evicts(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path, settings={"maxmemory-policy": "allkeys-lru"})
    server.start()
    try:
        assert examine_redis(server.url).level is Level.PROBLEM
        assert "noeviction" in examine_redis(server.url).fix
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("facts", "level", "fix"),
    [
        ({}, Level.OK, ""),
        ({"redis_version": "6.0.16"}, Level.PROBLEM, "6.2 or newer"),
        ({"redis_version": "8.0.1"}, Level.OK, ""),
        ({"maxmemory_policy": "volatile-ttl"}, Level.PROBLEM, "noeviction"),
        ({"maxmemory": 0}, Level.WARNING, "set maxmemory"),
        ({"used_memory": 81}, Level.WARNING, "more workers"),
    ],
)
def test_what_is_thought_of_a_redis(facts: dict[str, object], level: Level, fix: str) -> None:
    sound = {"redis_version": "6.2.7", "maxmemory": 100, "used_memory": 10, "maxmemory_policy": "noeviction"}
    finding = judge_redis({**sound, **facts})
    assert finding.level is level
    assert fix in finding.fix


@pytest.mark.parametrize(
    ("number", "fsync", "commit", "level"),
    [
        (180001, True, "on", Level.OK),
        (140012, True, "on", Level.PROBLEM),
        (180001, False, "on", Level.PROBLEM),
        (180001, True, "off", Level.PROBLEM),
    ],
)
def test_what_is_thought_of_a_postgres(number: int, commit: str, level: Level, *, fsync: bool) -> None:
    facts = ServerFacts(
        version_number=number, version="x", fsync=fsync, synchronous_commit=commit, connections_max=9, now=NOW
    )
    assert judge_postgres(facts).level is level


@pytest.mark.parametrize(
    ("ahead_s", "level"), [(0, Level.OK), (1.9, Level.OK), (2.1, Level.PROBLEM), (-2.1, Level.PROBLEM)]
)
def test_clocks_apart(ahead_s: float, level: Level) -> None:
    here = NOW + timedelta(seconds=ahead_s)
    assert judge_clock(NOW, before=here, after=here).level is level
    slow = judge_clock(NOW, before=NOW - timedelta(seconds=3), after=NOW + timedelta(seconds=3))
    assert slow.level is Level.OK  # a slow answer is no wrong clock


def test_roles_that_are_missing_too_strong_or_out_of_reach() -> None:
    def role(name: str, *, taken: bool = True, passes: bool = False) -> RoleFacts:
        return RoleFacts(name=name, may_be_taken=taken, passes_row_security=passes)

    owner, app, engine = role("spell_owner"), role(Role.APP), role(Role.ENGINE)
    assert judge_roles([owner, app, engine]).level is Level.OK
    assert judge_roles([role("spell_owner", taken=False), role(Role.APP, taken=False), engine]).level is Level.OK
    assert "spell_app" in judge_roles([owner, engine]).detail
    assert "NOBYPASSRLS" in judge_roles([owner, role(Role.APP, passes=True), engine]).fix
    none = [role(name, taken=False) for name in ("spell_owner", Role.APP, Role.ENGINE)]
    assert "GRANT spell_engine" in judge_roles(none).fix


def test_a_jail_with_a_hole_is_a_problem_where_it_is_required() -> None:
    holds = JailLayer(name="seccomp", active=True, essential=True, detail="all threads")
    hole = JailLayer(name="landlock", active=False, essential=True, detail="ENOSYS")
    spare = JailLayer(name="network", active=False, essential=False, detail="EPERM")
    assert judge_jail((holds, spare), required=True).level is Level.OK
    assert judge_jail((holds, hole), required=False).level is Level.WARNING
    assert judge_jail((holds, hole), required=True).level is Level.PROBLEM
    assert "landlock: missing (ENOSYS)" in judge_jail((holds, hole), required=True).notes


def test_an_engine_nobody_reviewed_and_a_review_that_is_old() -> None:
    reviewed_on = date.fromisoformat(REVIEWED_ON)
    assert judge_engine(REVIEWED_ENGINE_VERSION, today=reviewed_on).level is Level.OK
    assert judge_engine("51.0.0", today=reviewed_on).level is Level.PROBLEM
    assert judge_engine(REVIEWED_ENGINE_VERSION, today=reviewed_on + timedelta(days=91)).level is Level.WARNING


def test_a_disk_that_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", ("total", "used", "free"))  # noqa: PYI024  as shutil's own
    for free_mib, level in ((512, Level.PROBLEM), (2_000, Level.WARNING), (50_000, Level.OK)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free_mib: usage(0, 0, free * 1024 * 1024))
        (finding,) = examine_disk([tmp_path / "not made yet"])
        assert finding.level is level


def test_a_sandbox_that_does_not_come_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(examine_machine.sys, "executable", str(tmp_path / "no-python"))
    (finding,) = examine_machine.examine_executor(jail_required=False, today=NOW.date())
    assert (finding.name, finding.level) == ("sandbox", Level.PROBLEM)


def test_a_data_folder_is_examined_and_left_as_it_is(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--data-dir", str(tmp_path / "none")]) == EXIT_FAILED
    assert "no data folder of `spell dev`" in capfd.readouterr().err
    assert not (tmp_path / "none").exists()
    DevSecrets(tmp_path)
    for server in ("postgres", "redis"):
        (tmp_path / server).mkdir()
        (tmp_path / server / "password").write_text("secret")
        (tmp_path / server / "port").write_text("1")
    before = sorted(tmp_path.rglob("*"))
    found = answer(capfd, "--data-dir", str(tmp_path), code=EXIT_FAILED)
    assert sorted(tmp_path.rglob("*")) == before
    for name in ("settings release", "settings worker", "settings worker-large"):
        assert found[name]["level"] == "ok", found[name]
    assert found["postgres"]["level"] == "problem"


def test_what_a_setting_lacks_is_split_into_fault_and_remedy() -> None:
    (first, *_) = examine_settings("worker", {})
    assert first.detail == "REDIS_URL: missing"
    assert first.fix.startswith("set it to")
