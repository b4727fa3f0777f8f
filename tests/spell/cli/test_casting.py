"""`cast`, `casts`, `cancel`, `store`, `info` in a pipe, against the real platform; and how each of them ends."""

import base64
import json
from pathlib import Path

import httpx
import pytest

from spell.building.module import with_manifest
from spell.exits import (
    EXIT_CAST_FAILED,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_MONEY,
    EXIT_NOT_AUTHORISED,
    EXIT_NOT_FOUND,
    EXIT_USAGE,
)
from tests.api.platform import Account
from tests.spell.cli.conftest import Spell
from tests.stack import Stack, until
from tests.system.guests import empty


def test_what_the_spell_wrote_goes_to_standard_output_and_the_rest_elsewhere(user: Spell) -> None:
    text = user("cast", "dev/echo", "Ada")
    assert (text.code, text.out) == (EXIT_DONE, '"Ada"\n')
    assert "succeeded" in text.err
    assert "$0.00" in text.err
    assert user("cast", "dev/echo", '{"a": [1,  2]}').out == '{"a": [1,  2]}\n'
    assert user("cast", "dev/echo", "--raw", "5").out == "5\n"
    assert user("cast", "dev/echo").out == ""


def test_an_input_comes_from_a_file_or_from_standard_input(
    user: Spell, home: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (home / "a.json").write_text('{"words": 3}\n')
    (home / "a.bin").write_bytes(picture := bytes(range(256)))
    assert user("cast", "dev/echo", "@a.json").out == '{"words": 3}\n'
    assert user("cast", "dev/echo", "-", stdin=b'["from", "a pipe"]').out == '["from", "a pipe"]\n'
    seen = user("cast", "dev/echo", "@a.bin", "--json").json
    assert base64.b64decode(seen["output"]) == picture
    missing = user("cast", "dev/echo", "@nothing")
    assert missing.code == EXIT_USAGE
    assert "nothing cannot be read" in missing.err
    del capfdbinary


def test_json_is_the_whole_cast(user: Spell) -> None:
    cast = user("cast", "dev/echo", "1", "--metadata", '{"order": 17}', "--json")
    assert cast.code == EXIT_DONE
    assert cast.out.count("\n") == 1
    assert (cast.json["status"], cast.json["output"], cast.json["metadata"]) == ("succeeded", 1, {"order": 17})
    assert user("casts", "show", cast.json["id"], "--json").json == cast.json


def test_limits_and_prices_are_asked_for_as_people_write_them(user: Spell) -> None:
    cast = user("cast", "dev/echo", "1", "--limit", "fuel=2M", "--limit", "memory_bytes=1MiB", "--json").json
    assert cast["cost"]["held_micros"] == 1_003
    dear = user("cast", "dev/echo", "1", "--max-price", "0.0001")
    assert dear.code == EXIT_MONEY
    assert "--max-price" in dear.err
    for wrong in (["--limit", "fuel"], ["--limit", "speed=1"], ["--limit", "fuel=much"], ["--max-price", "0.0000001"]):
        assert user("cast", "dev/echo", "1", *wrong).code == EXIT_USAGE


def test_many_inputs_are_many_casts_and_a_line_each(user: Spell, home: Path) -> None:
    files = [f"in-{number}.json" for number in range(12)]
    for number, name in enumerate(files):
        (home / name).write_text(json.dumps({"number": number}))
    many = user("cast", "dev/echo", *(f"@{name}" for name in files))
    assert many.code == EXIT_DONE, many.err
    assert {row[0]: json.loads(row[4])["number"] for row in many.rows} == {
        f"@{name}": number for number, name in enumerate(files)
    }
    assert {row[1] for row in many.rows} == {"succeeded"}
    assert "12 succeeded, 0 failed, 0 refused" in many.err
    lines = [json.loads(line) for line in user("cast", "dev/echo", "1", "2", "--json").out.splitlines()]
    assert sorted(line["cast"]["output"] for line in lines) == [1, 2]
    assert user("cast", "dev/fail", "1", "2").code == EXIT_CAST_FAILED
    assert user("cast", "dev/nothing", "1", "2").code == EXIT_NOT_FOUND


def test_a_cast_that_fails_says_why_and_ends_with_a_code_of_its_own(user: Spell) -> None:
    failed = user("cast", "dev/fail", "1")
    assert failed.code == EXIT_CAST_FAILED
    assert "exit_nonzero" in failed.err
    cast_id = user("casts", "list", "--status", "failed", "--json").json[0]["id"]
    assert user("casts", "log", cast_id).out == "No."
    shown = user("casts", "show", cast_id)
    assert (shown.code, dict(shown.rows)["status"]) == (EXIT_DONE, "failed")
    assert user("casts", "show", cast_id, "--watch").code == EXIT_CAST_FAILED


def test_without_waiting_the_id_is_the_output(user: Spell) -> None:
    accepted = user("cast", "dev/echo", "7", "--no-wait")
    assert accepted.code == EXIT_DONE
    cast_id = accepted.out.strip()
    watched = user("casts", "show", cast_id, "--watch", "--json")
    assert json.loads(watched.out.splitlines()[-1])["output"] == 7
    assert user("casts", "show", cast_id, "--output").out == "7"
    assert cast_id in {row[0] for row in user("casts", "list").rows}


def test_watching_shows_each_status(user: Spell) -> None:
    watched = user("cast", "dev/echo", "7", "--watch", "--json")
    statuses = [json.loads(line)["status"] for line in watched.out.splitlines()]
    assert (watched.code, statuses[-1]) == (EXIT_DONE, "succeeded")
    assert statuses[0] in {"queued", "running", "succeeded"}
    assert user("cast", "dev/echo", "1", "2", "--watch").code == EXIT_USAGE


def test_a_cast_that_runs_for_ever_is_canceled(user: Spell) -> None:
    late = user("cast", "dev/spin", "--limit", "fuel=1T", "--limit", "wall_ms=300000", "--timeout", "1")
    assert late.code == EXIT_FAILED
    assert "goes on" in late.err
    (cast_id,) = (row[0] for row in user("casts", "list").rows)
    assert user("cancel", cast_id).code == EXIT_DONE
    ended = user("casts", "show", cast_id, "--watch")
    assert ended.code == EXIT_CAST_FAILED
    assert "canceled" in ended.err


def test_a_key_of_the_callers_makes_one_cast_of_two(user: Spell) -> None:
    first, second = (user("cast", "dev/echo", "1", "--idempotency-key", "mine", "--json").json for _ in range(2))
    assert first["id"] == second["id"]


def test_a_budget_stops_a_cast_and_says_which(user: Spell) -> None:
    assert user("budgets", "set", "--hard", "0", "--period", "daily").code == EXIT_DONE
    stopped = user("cast", "dev/echo", "1")
    assert stopped.code == EXIT_MONEY
    assert "daily budget of the account" in stopped.err
    assert "spell budgets set" in stopped.err
    assert user("cast", "dev/echo", "1", "2").code == EXIT_MONEY


def test_each_trouble_has_its_own_ending(user: Spell, monkeypatch: pytest.MonkeyPatch, account: Account) -> None:
    assert user("cast", "dev/nothing", "1").code == EXIT_NOT_FOUND
    assert user("casts", "show", "0199aaaa-0000-7000-8000-000000000000").code == EXIT_NOT_FOUND
    assert user("cast", "no-owner", "1").code in {EXIT_USAGE, EXIT_FAILED}
    assert user("cast", "build/missing.py").code == EXIT_USAGE
    monkeypatch.setenv("SPELL_API_KEY", account.key[:-1] + ("0" if account.key[-1] != "0" else "1"))
    wrong = user("cast", "dev/echo", "1")
    assert wrong.code == EXIT_NOT_AUTHORISED
    assert "spell login" in wrong.err
    monkeypatch.delenv("SPELL_API_KEY")
    assert user("casts", "list").code == EXIT_NOT_AUTHORISED
    monkeypatch.delenv("SPELL_URL")
    lost = user("casts", "list")
    assert lost.code == EXIT_USAGE
    assert "SPELL_URL" in lost.err


def test_the_store_is_searched(user: Spell) -> None:
    assert "dev/echo" in {row[0] for row in user("store").rows}
    assert [row[0] for row in user("store", "echo").rows] == ["dev/echo"]
    nothing = user("store", "nothing-has-this-name")
    assert (nothing.code, nothing.out) == (EXIT_DONE, "")
    assert user("store", "echo", "--json").json[0]["spell"] == "dev/echo"
    known = dict(user("info", "dev/echo").rows)
    assert known["spell"] == "dev/echo@1.0.0"
    assert known["digest"].startswith("sha256:")
    assert user("info", "dev/echo@1", "--json").json["version"]["version"] == "1.0.0"
    assert user("info", "dev/nothing").code == EXIT_NOT_FOUND


def test_a_published_version_never_changes_and_a_private_spell_is_hidden(
    dev: Spell, home: Path, stack: Stack, account: Account
) -> None:
    dev("init", "--lang", "c", "hidden")
    built = home / "hidden" / "build" / "hidden.wasm"
    built.parent.mkdir()
    built.write_bytes(with_manifest(empty(), b'{"name": "hidden", "version": "0.1.0"}'))
    arguments = ("publish", "hidden", "--no-build", "--visibility", "private", "--version", "1.2.3")
    assert dev(*arguments).code == EXIT_DONE
    assert dev(*arguments).code == EXIT_DONE
    built.write_bytes(with_manifest(empty(), b'{"name": "hidden", "description": "Another."}'))
    changed = dev(*arguments)
    assert changed.code == EXIT_FAILED
    answer = httpx.get(f"{stack.url}/v1/spells/dev/hidden", headers=account.headers, trust_env=False)
    assert answer.status_code == 404
    assert dev("publish", "hidden", "--no-build", "--version", "one").code == EXIT_USAGE
    assert dev("publish", "hidden", "--no-build", "--owner", "eve").code == EXIT_NOT_AUTHORISED


def test_a_platform_that_is_away_is_said_in_one_line(user: Spell, stack: Stack) -> None:
    until(lambda: stack.open_casts() == 0, "every cast has ended")
    away = user("whoami", "--url", "http://127.0.0.1:1")
    assert away.code == EXIT_FAILED
    assert "Traceback" not in away.err
