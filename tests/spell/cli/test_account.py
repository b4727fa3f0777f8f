"""`login`, `keys`, `budgets`, `webhooks`: what an account is and has."""

import http.server
import os
import subprocess
import threading
from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest

from spell.client import Client
from spell.config import config_path
from spell.exits import EXIT_DONE, EXIT_FAILED, EXIT_NOT_AUTHORISED, EXIT_NOT_FOUND, EXIT_USAGE
from spell.webhooks import verify
from tests.api.platform import Account
from tests.spell.cli.conftest import PATIENCE_SECONDS, PROGRAM, Spell
from tests.stack import Stack


def test_a_key_is_kept_for_its_platform_and_for_its_owner_alone(spell: Spell, stack: Stack, account: Account) -> None:
    kept = spell("login", "--url", f"{stack.url}/", "--with-key", stdin=f"{account.key}\n".encode())
    assert kept.code == EXIT_DONE, kept.err
    assert account.key not in kept.out + kept.err
    assert config_path().stat().st_mode & 0o777 == 0o600
    assert config_path().parent.stat().st_mode & 0o077 == 0
    known = dict(spell("whoami").rows)
    assert (known["account"], known["platform"]) == (account.handle, stack.url)
    assert account.key not in known["key"]
    assert spell("cast", "dev/echo", "1").out == "1\n"
    assert spell("logout", "--json").json == {"url": stack.url, "forgotten": True}
    assert account.key not in config_path().read_text()
    assert spell("whoami").code in {EXIT_NOT_AUTHORISED, EXIT_USAGE}


def test_what_the_environment_says_wins(
    spell: Spell, stack: Stack, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    spell("login", "--url", stack.url, "--with-key", stdin=account.key.encode())
    other = stack.account()
    monkeypatch.setenv("SPELL_API_KEY", other.key)
    assert spell("whoami", "--json").json["handle"] == other.handle
    monkeypatch.setenv("SPELL_URL", stack.urls[1])
    assert spell("whoami", "--json").json["url"] == stack.urls[1]
    assert spell("whoami", "--url", stack.url, "--json").json["url"] == stack.url
    # A key is sent to the platform it was kept for, and to no other.
    monkeypatch.delenv("SPELL_API_KEY")
    assert spell("whoami").code == EXIT_NOT_AUTHORISED


def test_a_key_nobody_has_is_not_kept(spell: Spell, stack: Stack) -> None:
    for text in (b"", b"a password", b"sk_live_a b", b"sk_live_00000000_" + b"0" * 38):
        refused = spell("login", "--url", stack.url, "--with-key", stdin=text)
        assert refused.code == EXIT_NOT_AUTHORISED, refused
        assert not config_path().exists()
    assert spell("login", "--url", stack.url).code == EXIT_USAGE


def test_a_broken_configuration_is_named(spell: Spell) -> None:
    config_path().parent.mkdir(parents=True)
    config_path().write_text("default = [")
    broken = spell("whoami")
    assert broken.code == EXIT_USAGE
    assert str(config_path()) in broken.err


def test_a_key_is_made_changed_rotated_and_revoked(user: Spell, account: Account) -> None:
    made = user(
        "keys", "create", "--name", "laptop", "--scope", "casts:write", "--budget", "2.50", "--expires-days", "9"
    )
    assert made.code == EXIT_DONE, made.err
    secret = made.out.strip()
    prefix = secret[:16]
    listed = {row[0]: row for row in user("keys", "list").rows}
    assert listed[prefix][1:3] == ["laptop", "casts:write"]
    assert account.prefix in listed
    assert user("keys", "update", prefix, "--name", "desktop", "--no-scopes").code == EXIT_DONE
    (changed,) = (key for key in user("keys", "list", "--json").json if key["prefix"] == prefix)
    assert (changed["name"], changed["scopes"]) == ("desktop", [])
    (budget,) = user("budgets", "list", "--json").json
    assert (budget["scope"], budget["hard_limit_cents"]) == ("key", 250)
    rotated = user("keys", "rotate", prefix, "--json").json
    assert rotated["key"] != secret
    assert user("keys", "revoke", rotated["prefix"], "--json").json == {"id": rotated["prefix"], "revoked": True}
    assert rotated["prefix"] not in user("keys", "list").out
    assert user("keys", "revoke", "sk_live_00000000").code == EXIT_NOT_FOUND
    assert user("keys", "update", account.prefix, "--scope", "casts:read", "--no-scopes").code == EXIT_USAGE


def test_budgets_are_set_changed_and_deleted(user: Spell, account: Account) -> None:
    assert user("budgets", "list").out == ""
    first = user("budgets", "set", "--hard", "5", "--period", "daily", "--json").json
    assert (first["hard_limit_cents"], first["soft_limit_cents"]) == (500, None)
    # What is not given stays.
    second = user("budgets", "set", "--soft", "4.50", "--period", "daily", "--json").json
    assert (second["id"], second["hard_limit_cents"], second["soft_limit_cents"]) == (first["id"], 500, 450)
    key = user("budgets", "set", "--hard", "1", "--scope", "key", "--of", account.prefix, "--json").json
    assert (key["scope"], key["scope_id"]) == ("key", str(account.key_id))
    assert user("budgets", "set", "--hard", "1", "--scope", "spell", "--of", "dev/echo").code == EXIT_DONE
    assert len(user("budgets", "list").rows) == 3
    usage = user("budgets", "usage")
    assert dict(usage.rows)["spent this month"] == "$0.00"
    assert "0 % of $5.00" in usage.out
    lifted = user("budgets", "set", "--no-hard", "--period", "daily", "--json").json
    assert (lifted["hard_limit_cents"], lifted["soft_limit_cents"]) == (None, 450)
    assert user("budgets", "delete", first["id"]).out == f"{first['id']} is deleted\n"
    for wrong in ([], ["--hard", "1", "--of", "x"], ["--hard", "1", "--scope", "key"], ["--hard", "0.001"]):
        assert user("budgets", "set", *wrong).code == EXIT_USAGE
    assert user("budgets", "set", "--hard", "1", "--scope", "key", "--of", "sk_live_none").code == EXIT_NOT_FOUND


def test_endpoints_are_made_listed_rotated_and_deleted(user: Spell) -> None:
    made = user("webhooks", "create", "https://example.com/hook", "--event", "cast.*")
    assert made.code == EXIT_DONE, made.err
    assert made.out.startswith("whsec_")
    ((webhook_id, address, events, state, _),) = user("webhooks", "list").rows
    assert (address, events, state) == ("https://example.com/hook", "cast.*", "good")
    assert user("webhooks", "rotate", webhook_id, "--grace", "0").out != made.out
    assert user("webhooks", "deliveries", webhook_id).out == ""
    missing = user("webhooks", "redeliver", webhook_id, "0199aaaa-0000-7000-8000-000000000000")
    assert missing.code == EXIT_NOT_FOUND
    assert user("webhooks", "redeliver", webhook_id, "--since", "2026-01-01", "--json").json == {"redelivered": 0}
    assert user("webhooks", "redeliver", webhook_id).code == EXIT_USAGE
    assert user("webhooks", "delete", webhook_id).code == EXIT_DONE
    assert user("webhooks", "list").out == ""


class Received(http.server.ThreadingHTTPServer):
    """A developer's server: keeps each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.requests: list[tuple[bytes, dict[str, str]]] = []


class Receiver(http.server.BaseHTTPRequestHandler):
    server: Received

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append((body, dict(self.headers)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Generator[Received]:
    with Received() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_events_are_forwarded_to_a_server_of_ones_own_signed(
    user: Spell, receiver: Received, stack: Stack, account: Account
) -> None:
    address = f"http://127.0.0.1:{receiver.server_port}/hooks"
    arguments = ["webhooks", "listen", "--forward-to", address, "--event", "cast.*", "--count", "2", "--json"]
    listening = subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert listening.stderr is not None
        greeting = listening.stderr.readline()
        assert "Listening" in greeting
        assert user("cast", "dev/echo", "1", "2").code == EXIT_DONE
        out, err = listening.communicate(timeout=PATIENCE_SECONDS)
    finally:
        listening.kill()
        listening.wait()
    assert listening.returncode == EXIT_DONE, err
    lines = [msgspec.json.decode(line) for line in out.splitlines()]
    assert [line["answer"] for line in lines] == ["204", "204"]
    with Client(api_key=account.key, base_url=stack.url) as client:
        secret = client.webhooks.account_secret().secret
    assert secret in greeting
    events = [verify(body, headers, secret) for body, headers in receiver.requests]
    assert {event.type for event in events} == {"cast.succeeded"}
    assert [event.id for event in events] == [line["event"]["id"] for line in lines]
    assert user("webhooks", "listen", "--forward-to", "localhost:3000").code == EXIT_USAGE


def test_the_operators_way_stands_beside_the_users(
    spell: Spell, stack: Stack, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    account = stack.account()
    monkeypatch.setenv("DATABASE_URL", stack.database_url)
    made = spell("keys", "create", "--handle", account.handle, "--name", "operator's").out.strip()
    assert made[:16] in spell("keys", "list", "--handle", account.handle).out
    refused = spell("keys", "create", "--handle", account.handle, "--budget", "1")
    assert refused.code == EXIT_USAGE
    assert "--budget" in refused.err
    monkeypatch.setenv("SPELL_URL", stack.url)
    monkeypatch.setenv("SPELL_API_KEY", made)
    assert spell("whoami", "--json").json["handle"] == account.handle
    # A diff with a real key, one that was made up, and half a key.
    made_up = made[:-7] + "1111111"
    (home / "leak.diff").write_text(f"+KEY={made}\n-KEY={made_up}\n+{made[:30]}\n")
    leaked = spell("keys", "revoke", "--leaked", "leak.diff")
    assert leaked.code == EXIT_DONE, leaked.err
    assert [row[0] for row in leaked.rows] == [made[:16]]
    assert made not in leaked.out + leaked.err
    assert spell("keys", "revoke", "--leaked", "leak.diff", "--json").code == EXIT_DONE
    assert spell("cast", "dev/echo", "1").code == EXIT_NOT_AUTHORISED
    assert spell("keys", "revoke", "--leaked", "nothing").code == EXIT_USAGE
    assert spell("keys", "revoke", "--leaked", "leak.diff", made[:16]).code == EXIT_USAGE
    assert spell("keys", "revoke").code == EXIT_USAGE


def test_dead_letters_are_listed_cast_again_and_dropped(
    spell: Spell, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPELL_URL", stack.url)
    assert spell("dead-letters", "list").code == EXIT_USAGE
    monkeypatch.setenv("ADMIN_SECRET", "not the secret")
    assert spell("dead-letters", "list").code == EXIT_NOT_AUTHORISED
    monkeypatch.setenv("ADMIN_SECRET", stack.environment["ADMIN_SECRET"])
    with stack.redis() as redis:
        letters = [redis.xadd("{default:0}:dead", {"m": b"unreadable", "r": b"poison"}) for _ in range(1)]
    ((pool, letter, cast, reason),) = spell("dead-letters", "list").rows
    assert (pool, letter, cast, reason) == ("default", letters[0].decode(), "?", "poison")
    unreadable = spell("dead-letters", "requeue", pool, letter)
    assert unreadable.code == EXIT_FAILED
    assert "Drop it" in unreadable.err
    assert spell("dead-letters", "drop", pool, letter).code == EXIT_DONE
    assert spell("dead-letters", "drop", pool, letter).code == EXIT_NOT_FOUND
    assert spell("dead-letters", "list").out == ""
    assert "ADMIN_SECRET" in os.environ
