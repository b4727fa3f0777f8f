"""Invoices over HTTP and through the SDK: what was billed, what will be, and that every line opens its casts."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from domain.flow.billing_run import start_run
from domain.flow.freeze_invoice import freeze_invoice
from domain.model.periods import month_of, next_month
from domain.store import billing_runs
from domain.store.connection import Role, open_pool, transaction
from spell import Client
from tests.api.platform import ADMIN_SECRET, Account, Api, Rows

COST = 250_000
CASTS = 3


@pytest.fixture
def account(rows: Rows) -> Account:
    made = rows.account(billing="auto")
    rows.execute(
        "UPDATE api_keys SET scopes = '{casts:read,casts:write,billing:read}' WHERE account_id = %(id)s",
        {"id": made.id},
    )
    return made


def use(api: Api, rows: Rows, account: Account, spell: str, casts: int = CASTS) -> list[str]:
    """Cast, and book what that cost as the gate would; return the casts, newest first."""
    made: list[str] = []
    for _ in range(casts):
        cast = api.http.post("/v1/casts", json={"spell": spell, "input": 1}, headers=account.headers)
        assert cast.status_code == 202, cast.text
        parameters = {"id": cast.json()["id"], "cost": COST, "payer": f"receivable:{account.id}", "transfer": uuid4()}
        rows.finish(parameters["id"])
        rows.execute(
            "UPDATE casts SET held_micros = %(cost)s, cost_micros = %(cost)s, funding = 'metered' WHERE id = %(id)s",
            parameters,
        )
        rows.execute(
            "INSERT INTO usage_events (id, account_id, key_id, spell_id, outcome, month, fuel, cpu_us,"
            " memory_bytes_peak, wall_us, cost_micros, funding, settled_at)"
            " SELECT id, account_id, key_id, spell_id, 'succeeded', date_trunc('month', accepted_at), 7, 1, 1, 1,"
            " cost_micros, funding, clock_timestamp() FROM casts WHERE id = %(id)s",
            parameters,
        )
        rows.execute(
            "INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, spell_id,"
            " month, casts) SELECT %(transfer)s, %(transfer)s, 'cast_fee', %(payer)s, 'revenue:platform', cost_micros,"
            " account_id, spell_id, date_trunc('month', accepted_at), 1 FROM casts WHERE id = %(id)s",
            parameters,
        )
        made.insert(0, parameters["id"])
    return made


async def freeze(url: str, rows: Rows, account: Account, period: date) -> str:
    """Bill a month as if it were over; return the invoice's id."""
    rows.execute(
        "INSERT INTO billing_accounts (account_id, stripe_customer_id, created_at, updated_at)"
        " VALUES (%(id)s, %(customer)s, now(), now()) ON CONFLICT DO NOTHING",
        {"id": account.id, "customer": f"cus_{account.id.hex}"},
    )
    following = next_month(period)
    now = datetime(following.year, following.month, 2, tzinfo=UTC)
    rows.execute("UPDATE accounts SET open_casts = 0 WHERE id = %(id)s", {"id": account.id})
    async with open_pool(url, role=Role.ENGINE, size_max=1) as pool, transaction(pool) as connection:
        await start_run(connection, period=period, run_id=uuid4(), now=now)
        run = await billing_runs.run_get(connection, period)
        assert run is not None
        invoice_id = uuid4()
        judged = await freeze_invoice(connection, run, account_id=account.id, invoice_id=invoice_id, now=now)
    assert judged.statement is not None
    return str(invoice_id)


def get(api: Api, account: Account, path: str, **query: Any) -> Any:
    answer = api.http.get(f"/v1/invoices{path}", params=query, headers=account.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_from_the_preview_to_the_casts_behind_each_line(
    api: Api, rows: Rows, account: Account, api_database_url: str
) -> None:
    month = month_of(datetime.now(UTC))
    creator = rows.account()
    first, second = rows.spell(creator, "first"), rows.spell(creator, "second")
    casts = {first: use(api, rows, account, first), second: use(api, rows, account, second, 1)}
    upcoming = get(api, account, "/upcoming")
    assert (upcoming["usage_micros"], upcoming["total_cents"], upcoming["calls"]) == (4 * COST, 100, 4)
    assert {(line["spell"], line["calls"], line["amount_micros"]) for line in upcoming["lines"]} == {
        (first, 3, 3 * COST), (second, 1, COST),
    }  # fmt: skip
    assert get(api, account, "")["data"] == []
    invoice_id = await freeze(api_database_url, rows, account, month)
    invoice = get(api, account, f"/{invoice_id}")
    assert (invoice["status"], invoice["total_cents"], invoice["carry_out_micros"]) == ("pending", 100, 0)
    assert invoice["description"] == f"Spell Platform API Usage - {month:%B %Y} (4 calls, $1.00)"
    assert [line["spell"] for line in invoice["lines"]] == [first, second], "the costliest first"
    for line in invoice["lines"]:
        assert line["description"] == f"usage of {month:%B %Y}"
        answer = api.http.get(line["casts_url"].removeprefix(api.url), headers=account.headers).json()
        assert [cast["id"] for cast in answer["data"]] == casts[line["spell"]]
        assert sum(cast["amount_micros"] for cast in answer["data"]) == line["amount_micros"]
    assert get(api, account, "/upcoming")["usage_micros"] == 0
    with Client(api_key=account.key, base_url=api.url) as client:
        assert [found.id for found in client.invoices.list()] == [invoice_id]
        assert client.invoices.get(invoice_id).lines[0].spell == first
        assert len(list(client.invoices.casts(invoice_id, page_size=2))) == 4
        assert client.invoices.upcoming().total_cents == 0


async def test_pages_and_links(api: Api, rows: Rows, account: Account, api_database_url: str) -> None:
    spell = rows.spell(rows.account(), "paged")
    month = month_of(datetime.now(UTC))
    use(api, rows, account, spell)
    ids = [await freeze(api_database_url, rows, account, month)]
    use(api, rows, account, spell)
    ids.insert(0, await freeze(api_database_url, rows, account, next_month(month)))
    page = get(api, account, "", limit=1)
    assert ([one["id"] for one in page["data"]], page["has_more"]) == (ids[:1], True)
    rest = get(api, account, "", limit=1, cursor=page["next_cursor"])
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (ids[1:], False)
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert get(api, account, "", created_after=later)["data"] == []
    answer = api.http.get(f"/v1/invoices/{ids[0]}/casts", params={"limit": 2}, headers=account.headers)
    assert 'rel="next"' in answer.headers["link"]
    last = get(api, account, f"/{ids[0]}/casts", limit=2, cursor=answer.json()["next_cursor"])
    assert (len(last["data"]), last["has_more"]) == (1, False)
    (line,) = get(api, account, f"/{ids[0]}")["lines"]
    assert line["description"] == f"late usage of {month:%B %Y}"


async def test_what_belongs_to_another_is_not_found(
    api: Api, rows: Rows, account: Account, api_database_url: str
) -> None:
    use(api, rows, account, rows.spell(rows.account(), "mine"))
    invoice_id = await freeze(api_database_url, rows, account, month_of(datetime.now(UTC)))
    (line,) = get(api, account, f"/{invoice_id}")["lines"]
    stranger = rows.account()
    rows.execute("UPDATE api_keys SET scopes = '{billing:read}' WHERE account_id = %(id)s", {"id": stranger.id})
    for path in (f"/{invoice_id}", f"/{invoice_id}/casts", f"/{invoice_id}/casts?line={line['id']}"):
        assert api.http.get(f"/v1/invoices{path}", headers=stranger.headers).status_code == 404
    assert api.http.get("/v1/invoices", headers=stranger.headers).json()["data"] == []
    missing = api.http.get(f"/v1/invoices/{invoice_id}/casts", params={"line": str(uuid4())}, headers=account.headers)
    assert missing.status_code == 404
    assert api.http.get(f"/v1/invoices/{uuid4()}", headers=account.headers).json()["error"] == "not_found"


def test_a_key_without_the_scope_is_told_which_it_lacks(api: Api, rows: Rows) -> None:
    answer = api.http.get("/v1/invoices", headers=rows.account().headers)
    assert answer.status_code == 403
    assert "billing:read" in answer.json()["detail"]


def test_billing_that_is_off_says_so(api: Api) -> None:
    answer = api.http.post("/admin/billing/process-monthly", headers={"X-Admin-Secret": ADMIN_SECRET})
    assert answer.status_code == 422
    assert "set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET" in answer.json()["detail"]
