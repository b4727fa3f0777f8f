"""The shipped scripts, run against a whole platform as an operator would: checks from outside, migrations, billing."""

import os
import re
import subprocess
from collections.abc import Generator
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

from tests.operate.test_dev import CLEAN, SPELL, Dev, dev

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "scripts"
SECONDS_MAX = 180


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Dev]:
    with dev(tmp_path_factory.mktemp("scripts")) as started:
        module = (REPOSITORY / "spells" / "built" / "hello.wasm").read_bytes()
        made = started.http.put(
            "/v1/spells/free/hello/versions/1.0.0",
            content=module,
            headers={**as_free(started), "content-type": "application/wasm"},
        )
        assert made.status_code == 201, made.text
        yield started


def run(name: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPTS / name, *arguments],
        capture_output=True,
        text=True,
        env={**CLEAN, **environ},
        timeout=SECONDS_MAX,
        check=False,
    )


def as_free(running: Dev) -> dict[str, str]:
    return {"Authorization": f"Bearer {running.ready['free_api_key']}"}


def owe(running: Dev, micros: int) -> UUID:
    """Have the account `free`, which is billed, owe for a spell's casts of a month that is over."""
    with psycopg.connect(running.ready["database_url"]) as owner:
        (account_id,) = owner.execute("SELECT id FROM accounts WHERE handle = 'free'").fetchone() or (None,)
        (spell_id,) = owner.execute("SELECT id FROM spells WHERE account_id = %s", (account_id,)).fetchone() or (None,)
        owner.execute(
            "INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, spell_id,"
            " month, casts) VALUES (%s, %s, 'cast_fee', %s, 'revenue:platform', %s, %s, %s, '2026-01-01', 1234)",
            (uuid4(), uuid4(), f"receivable:{account_id}", micros, account_id, spell_id),
        )
    assert account_id is not None
    return account_id


def test_the_platform_from_outside(running: Dev) -> None:
    for key in ("free_api_key", "api_key"):
        done = run("e2e_phase2.sh", API_URL=running.ready["url"], SPELL_API_KEY=running.ready[key])
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"^all \d+ checks passed$", done.stdout, re.MULTILINE)
        for said in ("a cast over the limit is refused", "checkout answers with its page", "and is limited"):
            assert f"ok      {said}" in done.stdout
    assert run("e2e_phase2.sh").returncode == 2
    wrong = run("e2e_phase2.sh", API_URL=running.ready["url"], SPELL_API_KEY="sk_live_none")
    assert wrong.returncode == 1
    assert "FAILED  who am I: expected 200, got 401" in wrong.stderr


def test_migrations(running: Dev) -> None:
    for arguments in ((), ("--check",)):
        done = run("apply_migrations.sh", *arguments, DATABASE_URL=running.ready["database_url"])
        assert done.returncode == 0, done.stderr
        assert "the schema is current" in done.stdout
    missing = run("apply_migrations.sh")
    assert missing.returncode == 2
    assert "set DATABASE_URL" in missing.stderr


def test_billing_from_the_script_to_the_payment(running: Dev) -> None:
    account_id = owe(running, 12_345_678)
    platform = {"API_URL": running.ready["url"], "ADMIN_SECRET": running.ready["admin_secret"]}
    assert running.http.post("/v1/billing/checkout", json={"plan": "pro"}, headers=as_free(running)).status_code == 200
    done = run("run_monthly_billing.sh", "2026-01", **platform)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = msgspec.json.decode(done.stdout.splitlines()[-1])
    assert summary == {"period": "2026-01", "users": 1, "successful": 1, "errors": 0, "skipped": 0, "pending": 0}
    again = run("run_monthly_billing.sh", "2026-01", **platform)
    assert msgspec.json.decode(again.stdout.splitlines()[-1]) == summary
    page = running.http.get("/v1/invoices", headers=as_free(running)).json()
    (invoice,) = page["data"]
    assert (invoice["total_cents"], invoice["carry_out_micros"], invoice["calls"]) == (1_234, 5_678, 1_234)
    assert invoice["description"] == "Spell Platform API Usage - January 2026 (1234 calls, $12.34)"
    hosted = running.http.get(invoice["urls"]["hosted"], headers={"Authorization": ""})
    assert hosted.status_code == 200
    assert invoice["description"] in hosted.text
    shown = running.http.get(f"/v1/invoices/{invoice['id']}", headers=as_free(running)).json()
    assert [(line["month"], line["calls"], line["amount_micros"]) for line in shown["lines"]] == [
        ("2026-01", 1_234, 12_345_678)
    ]
    run_view = running.http.get(
        "/admin/billing/runs/2026-01", headers={"X-Admin-Secret": running.ready["admin_secret"]}
    ).json()
    assert [(row["account_id"], row["outcome"]) for row in run_view["data"]] == [(str(account_id), "frozen")]


def test_billing_from_the_command_line(running: Dev) -> None:
    account_id = owe(running, 7_000_000)
    environ = {"DATABASE_URL": running.ready["database_url"]}
    plan = spell("billing", "run", "--period", "2026-02", "--dry-run", "--json", **environ)
    assert plan.returncode == 0, plan.stderr
    (planned,) = msgspec.json.decode(plan.stdout)["accounts"]
    assert (planned["account_id"], planned["outcome"]) == (str(account_id), "frozen")
    assert (planned["total_cents"], planned["calls"]) == (700, 1_234)
    done = spell("billing", "run", "--period", "2026-02", **environ)
    assert done.returncode == 0, done.stderr
    assert "the scheduler sends what is frozen" in done.stderr
    assert "2026-02: 1 users, 1 successful, 0 errors, 0 skipped, 0 under way" in done.stderr
    stripe = {**environ, "STRIPE_SECRET_KEY": (running.folder / "stripe" / "secret-key").read_text()}
    stripe |= {"STRIPE_WEBHOOK_SECRET": "whsec_x", "STRIPE_API_BASE": running.ready["stripe_url"]}
    again = spell("billing", "run", "--period", "2026-02", "--json", **stripe)
    assert msgspec.json.decode(again.stdout)["successful"] == 1
    for period, code in (("2999-01", 2), ("soon", 2)):
        assert spell("billing", "run", "--period", period, **environ).returncode == code
    user = {"SPELL_URL": running.ready["url"], "SPELL_API_KEY": running.ready["free_api_key"]}
    listed = spell("invoices", **user)
    assert [row.split("\t")[1] for row in listed.stdout.splitlines()] == ["2026-02", "2026-01"]
    newest = listed.stdout.partition("\t")[0]
    shown = spell("invoices", newest, **user)
    assert "late usage of January 2026\tfree/hello\t1,234\t$7.00" in shown.stdout
    assert "Spell Platform API Usage - February 2026 (1234 calls, $7.00)" in shown.stderr
    assert "No cast is behind it." in spell("invoices", newest, "--casts", **user).stderr
    assert "It has no lines." in spell("invoices", "upcoming", **user).stderr
    assert spell("invoices", "--casts", **user).returncode == 2


def spell(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SPELL, *arguments],
        capture_output=True,
        text=True,
        env={**CLEAN, **environ},
        timeout=SECONDS_MAX,
        check=False,
    )


def test_what_cannot_be_billed_says_why(running: Dev) -> None:
    url = running.ready["url"]
    assert run("run_monthly_billing.sh", API_URL=url).returncode == 2
    wrong = run("run_monthly_billing.sh", API_URL=url, ADMIN_SECRET="x" * 32)
    assert wrong.returncode == 1
    assert "answered 401" in wrong.stderr
    secret = running.ready["admin_secret"]
    for period, said in (("2999-01", "the month is not over"), ("yesterday", "it is no month")):
        refused = run("run_monthly_billing.sh", period, API_URL=url, ADMIN_SECRET=secret)
        assert refused.returncode == 1
        assert "answered 422" in refused.stderr
        assert said in refused.stderr
    nobody = run("run_monthly_billing.sh", API_URL="http://127.0.0.1:9", ADMIN_SECRET=secret)
    assert nobody.returncode == 1
    assert "does not answer" in nobody.stderr


def test_the_workflow_calls_the_script_on_the_first_and_by_hand() -> None:
    workflow = (REPOSITORY / ".github" / "workflows" / "monthly-billing.yml").read_text()
    minute, hour, day, month, weekday = re.findall(r'cron: "(.+)"', workflow)[0].split()
    assert (day, month, weekday) == ("1", "*", "*")
    assert 0 <= int(minute) < 60
    assert 6 <= int(hour) < 24, "behind the hour at which everybody is billed"
    assert "workflow_dispatch:" in workflow
    assert 'run: scripts/run_monthly_billing.sh "$PERIOD"' in workflow
    assert os.access(SCRIPTS / "run_monthly_billing.sh", os.X_OK)
