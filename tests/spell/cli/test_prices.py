"""`price`, `quote`, `receipt`, `refund`: what a spell costs, promised before and proved after."""

from pathlib import Path

import httpx
import msgspec
import pytest

from operate.operator_http import SECRET_VARIABLE
from spell.exits import EXIT_DONE, EXIT_MONEY, EXIT_NO, EXIT_NOT_AUTHORISED, EXIT_NOT_FOUND, EXIT_USAGE
from tests.api.platform import Account
from tests.spell.cli.conftest import Spell
from tests.stack import Stack


def keys_of(stack: Stack, folder: Path) -> str:
    path = folder / "jwks.json"
    path.write_bytes(httpx.get(f"{stack.url}/.well-known/jwks.json", trust_env=False).content)
    return str(path)


def test_a_creator_names_a_price_and_everybody_sees_what_is_coming(user: Spell, stack: Stack, account: Account) -> None:
    mine = stack.rows.spell(account, "priced")
    assert dict(user("price", mine).rows) == {"price": "the platform's fee and fuel alone"}
    named = user("price", f"{mine}@1.0.0", "--per-cast", "0.0005", "--per-output-kib", "0.00001")
    assert named.code == EXIT_DONE, named.err
    coming = dict(named.rows)["announced"]
    assert coming.startswith("$0.0005 a cast, $0.00001 a KiB of output from ")
    assert dict(user("info", mine).rows)["announced"] == coming
    assert user("price", f"{mine}@1.0.0", "--json").json["next"]["per_cast_micros"] == 500
    assert user("price", mine, "--per-cast", "1").code == EXIT_USAGE, "a price belongs to one version"
    assert user("price", "dev/echo@1.0.0", "--per-cast", "1").code == EXIT_NOT_AUTHORISED
    assert user("price", f"{mine}@1.0.0", "--per-unit", "1").code == EXIT_USAGE, "it counts nothing"


def test_a_quote_is_made_used_and_refused_when_it_is_none(user: Spell) -> None:
    made = user("quote", "dev/echo", "1", "--limit", "fuel=1M")
    assert made.code == EXIT_DONE, made.err
    text = made.out.splitlines()[-1]
    cast = user("cast", "dev/echo", "1", "--quote", text, "--json").json
    assert (
        cast["cost"]["held_micros"]
        == user("quote", "dev/echo", "--limit", "fuel=1M", "--json").json["max_price_micros"]
    )
    dearer = user("cast", "dev/echo", "1", "--quote", text, "--limit", "fuel=2M")
    assert (dearer.code, "--max-price" in dearer.err) == (EXIT_MONEY, True)
    assert user("cast", "dev/echo", "1", "--quote", text + "x").code == EXIT_USAGE


def test_a_receipt_is_shown_kept_and_proved(user: Spell, stack: Stack, tmp_path: Path) -> None:
    cast = user("cast", "dev/echo", "1", "--json").json
    cost = cast["cost"]["cost_micros"]
    shown = dict(user("receipt", "show", cast["id"]).rows)
    assert (shown["cast"], shown["charged"].startswith("$0.001")) == (cast["id"], True)
    saved, keys = tmp_path / "receipt.json", keys_of(stack, tmp_path)
    saved.write_text(user("receipt", "show", cast["id"], "--json").out)
    for arguments in ((str(saved),), (cast["id"],), (str(saved), "--keys", keys), (cast["id"], "--keys", keys)):
        proved = user("receipt", "verify", *arguments, "--json")
        assert (proved.code, proved.json["hold"]["captured_micros"]) == (EXIT_DONE, cost), proved.err
    whole = msgspec.json.decode(saved.read_bytes())
    whole["receipt"]["hold"]["captured_micros"] = 1
    saved.write_bytes(msgspec.json.encode(whole))
    forged = user("receipt", "verify", str(saved), "--keys", keys)
    assert (forged.code, "was changed" in forged.err) == (EXIT_NO, True)
    assert user("receipt", "verify", str(saved), "--keys", str(tmp_path / "none")).code == EXIT_USAGE


def test_the_operator_pays_a_cast_back_once(
    user: Spell, stack: Stack, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The free casts of the month are used up and there is a subscription, so that it is on the bill.
    stack.rows.execute(
        "UPDATE accounts SET billing = 'on', subscription_active = true WHERE id = %(id)s", {"id": account.id}
    )
    stack.rows.execute(
        "INSERT INTO account_months (account_id, month, free_used)"
        " VALUES (%(id)s, date_trunc('month', now() AT TIME ZONE 'UTC')::date, 1000)",
        {"id": account.id},
    )
    cast = user("cast", "dev/echo", "1", "--json").json
    assert cast["cost"]["funding"] == "metered"
    monkeypatch.setenv(SECRET_VARIABLE, stack.environment[SECRET_VARIABLE])
    first = user("refund", cast["id"], "--reason", "it answered nonsense", "--json").json
    again = user("refund", cast["id"], "--reason", "twice")
    assert (first["made"], first["amount_micros"]) == (True, cast["cost"]["cost_micros"])
    assert (again.code, "before, and not again: it answered nonsense" in again.err) == (EXIT_DONE, True)
    told = dict(user("receipt", "show", cast["id"]).rows)
    assert told["paid back"].endswith("it answered nonsense")
    assert user("refund", "0" * 8 + "-0000-7000-8000-" + "0" * 12, "--reason", "x").code == EXIT_NOT_FOUND
