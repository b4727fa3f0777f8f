"""`spell credits`, the user's commands and the operator's, against a platform that has no keys of Stripe."""

from uuid import UUID, uuid4

import pytest

from tests.api.platform import Account
from tests.spell.cli.conftest import Spell
from tests.stack import Stack


@pytest.fixture
def operator(spell: Spell, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Spell:
    monkeypatch.setenv("DATABASE_URL", stack.database_url)
    return spell


def give(operator: Spell, account: Account, amount: int, *more: str) -> None:
    done = operator("credits", "grant", "--handle", account.handle, "--credits", str(amount), *more)
    assert done.code == 0, done.err


def test_packages_and_an_empty_balance(user: Spell) -> None:
    assert user("credits", "packages").rows[0] == ["starter", "Starter", "1,000", "$9.99", "$10.00"]
    assert [one["id"] for one in user("credits", "packages", "--json").json] == [
        "starter", "writer", "author", "publisher",
    ]  # fmt: skip
    assert user("credits", "balance").rows[0] == ["credits", "0 ($0.00 of casts)"]
    assert user("credits", "history").out == ""
    assert user("credits", "orders").out == ""


def test_what_the_operator_gives_is_seen_and_used_first(user: Spell, operator: Spell, account: Account) -> None:
    grant_id = str(uuid4())
    for _ in range(2):
        give(operator, account, 250, "--reason", "welcome", "--id", grant_id, "--expires-days", "9")
    balance = user("credits", "balance", "--json").json
    assert (balance["balance"], balance["total_granted"], balance["available"]) == (250, 250, 250)
    ((kind, amount, left, what, _),) = user("credits", "history").rows
    assert (kind, amount, left, what) == ("grant", "$2.50", "$2.50", "welcome")
    (change,) = user("credits", "history", "--json", "--limit", "5").json
    assert (change["id"], change["amount"], change["reference_id"]) == (1, 250, grant_id)


def test_a_grant_that_cannot_be_says_why(operator: Spell) -> None:
    nobody = operator("credits", "grant", "--handle", "nobody-here", "--credits", "1")
    assert (nobody.code, "spell users create" in nobody.err) == (1, True)
    assert operator("credits", "grant", "--handle", "x", "--credits", "0").code == 2


def test_a_refund_takes_what_is_unused(user: Spell, operator: Spell, stack: Stack, account: Account) -> None:
    ids = {"order": uuid4(), "grant": uuid4(), "account": account.id, "payment": f"pi_{uuid4()}"}
    stack.rows.execute(
        "INSERT INTO credit_orders (id, account_id, origin, package_id, credits, price_micros, granted_micros, status,"
        " stripe_payment, created_at, granted_at) VALUES (%(order)s, %(account)s, 'checkout', 'starter', 1000, 9990000,"
        " 10000000, 'completed', %(payment)s, now(), now())",
        ids,
    )
    stack.rows.execute(
        "INSERT INTO credit_grants (id, account_id, granted_micros, balance_micros, order_id)"
        " VALUES (%(grant)s, %(account)s, 10000000, 10000000, %(order)s)",
        ids,
    )
    ((order_id, package, count, price, status, _),) = user("credits", "orders").rows
    assert (UUID(order_id), package, count, price, status) == (
        ids["order"], "starter", "1,000", "$9.99", "completed",
    )  # fmt: skip
    once = str(uuid4())
    for _ in range(2):
        done = operator("credits", "refund", order_id, "--credits", "400", "--id", once)
        assert done.rows[0] == ["goes back", "$3.99"], done.err
    assert operator("credits", "refund", order_id, "--json").json["money_micros"] == 6_000_000
    assert operator("credits", "refund", order_id).code == 1
    assert user("credits", "orders", "--json").json[0]["status"] == "refunded"


def test_top_up_is_set_piece_by_piece(user: Spell) -> None:
    assert user("credits", "auto-topup").rows == [["automatic top-up", "off"]]
    assert user("credits", "auto-topup", "--off").rows == [["automatic top-up", "off"]]
    assert user("credits", "auto-topup", "--below", "500").code == 2
    whole = user("credits", "auto-topup", "--package", "writer", "--below", "500", "--cap", "100")
    assert whole.rows == [["automatic top-up", "writer below 500 credits, up to $100.00 a month"]]
    changed = user("credits", "auto-topup", "--below", "700", "--json").json
    assert (changed["package"], changed["threshold"], changed["monthly_cap_cents"]) == ("writer", 700, 10_000)
    assert user("credits", "auto-topup", "--off").rows == [["automatic top-up", "off"]]
    refused = user("credits", "auto-topup", "--cap", "1")
    assert (refused.code, "Set 3999 at least" in refused.err) == (2, True)


def test_where_nothing_is_sold_that_is_said(user: Spell) -> None:
    done = user("credits", "buy", "starter")
    assert (done.code, done.out) == (7, "")
    assert "nothing can be bought here" in done.err


def test_a_package_is_sold_under_a_price_of_stripes(operator: Spell, stack: Stack) -> None:
    said = "SELECT stripe_price FROM credit_packages WHERE id = 'author'"
    done = operator("credits", "stripe", "author", "--price", "price_1Author")
    assert done.rows == [["package", "author"], ["price at Stripe", "price_1Author"]], done.err
    assert operator("credits", "stripe", "author", "--price", "price_1Author", "--json").code == 0
    assert stack.rows.execute(said) == [("price_1Author",)]
    log = "SELECT after ->> 'stripe_price' FROM audit_log WHERE action = 'package.update'"
    assert stack.rows.execute(log) == [("price_1Author",)]
    assert operator("credits", "stripe", "author", "--no-price").rows[1] == ["price at Stripe", "none"]
    assert stack.rows.execute(said) == [(None,)]
    assert operator("credits", "stripe", "author").code == 2
    assert operator("credits", "stripe", "huge", "--no-price").code == 1
