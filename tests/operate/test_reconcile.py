"""`spell reconcile` on a database whose books are equal, and on one where they are not."""

import json
from uuid import uuid4

import psycopg
import pytest

from operate.commands import register
from spell.cli import EXIT_DONE, run, spell
from spell.exits import EXIT_FAILED

STRIPE_AWAY = json.dumps(
    {
        "compared": False, "reason": "Stripe's outcome is in doubt: no answer", "since": "2026-10-01T00:00:00Z",
        "listed": {}, "differing": {}, "books": [],
    }
)  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    register(spell)
    monkeypatch.delenv("MIGRATIONS_DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL", database_url)


def test_what_differs_is_shown_and_is_an_exit_code(database_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["reconcile"]) == EXIT_DONE
    shown = capfd.readouterr()
    assert ("The books are equal." in shown.err, "Stripe was not compared yet" in shown.err) == (True, True)
    account_id = uuid4()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO accounts (id, handle) VALUES (%s, 'ada')", (account_id,))
        connection.execute(
            "INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, month)"
            " VALUES (gen_random_uuid(), gen_random_uuid(), 'x', %s, 'cash:stripe', 7, %s, '2026-10-01')",
            (f"receivable:{account_id}", account_id),
        )
    assert run(["reconcile"]) == EXIT_FAILED
    row = ["receivables", str(account_id), f"receivable:{account_id}", "balance_micros", "0", "7"]
    assert capfd.readouterr().out == "\t".join(row) + "\n"
    counter = (account_id, account_id)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM ledger_transfers")
        connection.execute(
            "INSERT INTO usage_counters (account_id, dimension, subject_id, period, starts_on, funding, casts, failed,"
            " fuel, cpu_us, cost_micros) VALUES (%s, 'account', %s, 'day',"
            " date_trunc('month', now() AT TIME ZONE 'UTC'), 'free', 1, 0, 1, 1, 9)",
            counter,
        )
    assert run(["reconcile"]) == EXIT_FAILED
    shown_rows = [line.split("\t") for line in capfd.readouterr().out.splitlines()]
    assert [(row[0], *row[3:]) for row in shown_rows] == [
        ("casts", "counted_casts", "0", "1"),
        ("casts", "counters_micros", "0", "9"),
    ]
    assert run(["reconcile", "--json"]) == EXIT_FAILED
    assert json.loads(capfd.readouterr().out)["books"]["differing"]["casts"] == 1


def test_that_stripe_was_not_compared_is_said(database_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO reconciliation_reports (made_at, scope, balanced, report) VALUES (now(), 'stripe', false, %s)",
            (STRIPE_AWAY,),
        )
    assert run(["reconcile"]) == EXIT_FAILED
    assert "no answer" in capfd.readouterr().err
