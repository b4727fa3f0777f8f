import json

import psycopg
import pytest

from api.auth import hash_key
from domain.model.api_key import prefix_of
from operate.commands import register
from spell.cli import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, run, spell


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    register(spell)
    monkeypatch.delenv("MIGRATIONS_DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL", database_url)


def test_a_user_gets_a_key_that_is_listed_and_revoked(capfd: pytest.CaptureFixture[str]) -> None:
    def answer(*arguments: str, code: int = EXIT_DONE) -> str:
        assert run(list(arguments)) == code
        captured = capfd.readouterr()
        return captured.out if code == EXIT_DONE else captured.err

    first = json.loads(answer("users", "create", "--handle", "ada", "--email", "ada@example.org", "--json"))
    again = json.loads(answer("users", "create", "--handle", "ada", "--email", "ada@example.org", "--json"))
    assert (first["made"], again["made"]) == (True, False)
    assert again["account"] == first["account"]
    assert "taken" in answer("users", "create", "--handle", "ada", "--email", "eve@example.org", code=EXIT_FAILED)
    assert "handle" in answer("users", "create", "--handle", "Ada Lovelace", code=EXIT_FAILED)
    assert "platform" in answer("users", "create", "--handle", "local", code=EXIT_FAILED)

    text = answer("keys", "create", "--handle", "ada", "--name", "laptop").strip()
    prefix = prefix_of(text)
    assert prefix is not None
    made = json.loads(answer("keys", "create", "--handle", "ada", "--scope", "spells:write", "--json"))
    assert made["scopes"] == ["spells:write"]
    listed = json.loads(answer("keys", "list", "--handle", "ada", "--json"))
    assert {key["prefix"] for key in listed} == {prefix, made["prefix"]}
    assert text not in json.dumps(listed)
    answer("keys", "revoke", "--handle", "ada", prefix)
    answer("keys", "revoke", "--handle", "ada", prefix)
    assert made["prefix"] in (remaining := answer("keys", "list", "--handle", "ada"))
    assert prefix not in remaining
    assert "no key" in answer("keys", "revoke", "--handle", "ada", "sk_live_00000000", code=EXIT_FAILED)
    assert "spell users create" in answer("keys", "list", "--handle", "eve", code=EXIT_FAILED)


def test_without_a_database_the_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    assert run(["users", "create", "--handle", "ada"]) == EXIT_USAGE
    assert "DATABASE_URL" in capfd.readouterr().err


def test_a_hash_is_argon2id_with_its_parameters_beside_it() -> None:
    assert hash_key("sk_live_x").startswith("$argon2id$v=19$m=2048,t=1,p=1$")


def test_how_long_data_is_kept_is_set_for_one_account(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["users", "create", "--handle", "ada"]) == EXIT_DONE
    assert run(["users", "set", "--handle", "ada", "--data-days", "0"]) == EXIT_DONE
    assert "until first read" in capfd.readouterr().out
    assert run(["users", "set", "--handle", "bob", "--data-days", "7"]) == EXIT_FAILED
    assert "no account 'bob'" in capfd.readouterr().err
    assert run(["users", "set", "--handle", "ada", "--data-days", "91"]) == EXIT_USAGE


def test_prices_are_agreed_on_with_one_account(capfd: pytest.CaptureFixture[str], database_url: str) -> None:
    run(["users", "create", "--handle", "grace", "--json"])
    capfd.readouterr()
    both = ("--per-cast-micros", "300", "--per-gfuel-micros", "200")
    assert run(["users", "price", "--handle", "grace", *both]) == EXIT_FAILED
    assert "spell release" in capfd.readouterr().err
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO price_book VALUES (1, 1000, 1500, 20)")
    assert run(["users", "price", "--handle", "grace"]) == EXIT_USAGE
    capfd.readouterr()
    assert run(["users", "price", "--handle", "grace", *both]) == EXIT_DONE
    assert "300 micros a cast and 200 for 10^9 fuel (version 2" in capfd.readouterr().out
    assert run(["users", "price", "--handle", "grace", "--standard"]) == EXIT_DONE
    assert "1000 micros a cast" in capfd.readouterr().out
    assert run(["users", "price", "--handle", "nobody", "--standard"]) == EXIT_FAILED
