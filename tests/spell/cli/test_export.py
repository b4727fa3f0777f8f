"""`spell account export`, against the platform with its scheduler."""

import json
import zipfile
from pathlib import Path

import pytest

from spell.exits import EXIT_DONE, EXIT_NOT_AUTHORISED, EXIT_NOT_FOUND, EXIT_USAGE
from tests.api.platform import Account
from tests.spell.cli.conftest import Spell
from tests.stack import Stack


@pytest.fixture
def signed_in(user: Spell, stack: Stack, account: Account, monkeypatch: pytest.MonkeyPatch) -> Spell:
    monkeypatch.setenv("SPELL_API_KEY", stack.rows.session(account).token)
    return user


def test_a_person_takes_everything_along(signed_in: Spell, account: Account, tmp_path: Path) -> None:
    assert signed_in("cast", "dev/echo", '"to take along"').code == EXIT_DONE
    path = tmp_path / "mine.zip"
    done = signed_in("account", "export", "--output", str(path))
    assert done.code == EXIT_DONE, done.err
    assert dict(done.rows)["file"] == str(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.glob("mine*")] == ["mine.zip"]
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        casts = json.loads(archive.read("casts.json"))
        profile = json.loads(archive.read("account.json"))
    assert [(cast["spell"], cast["input"], cast["status"]) for cast in casts] == [
        ("dev/echo", '"to take along"', "succeeded")
    ]
    assert profile[0]["handle"] == account.handle
    again = signed_in("account", "export", "--output", str(path))
    assert again.code == EXIT_USAGE
    assert "exists" in again.err


def test_it_may_be_fetched_later(signed_in: Spell, home: Path) -> None:
    asked = signed_in("account", "export", "--no-wait")
    assert asked.code == EXIT_DONE, asked.err
    fetched = signed_in("account", "export", "--id", asked.out.strip(), "--json")
    assert fetched.code == EXIT_DONE, fetched.err
    assert fetched.json["export"]["status"] == "ready"
    assert (home / fetched.json["file"]).stat().st_size == fetched.json["export"]["size_bytes"]
    missing = signed_in("account", "export", "--id", "0199e0c4-0000-7000-8000-000000000000")
    assert missing.code == EXIT_NOT_FOUND


def test_a_key_may_not(user: Spell) -> None:
    refused = user("account", "export")
    assert refused.code == EXIT_NOT_AUTHORISED
    assert "Sign in" in refused.err
