"""The billing page: what it shows, to whom, and that nothing on it is believed to be HTML."""

from collections.abc import Generator
from pathlib import Path

import pytest

from local.servers import Servers
from tests.api.access_ground import invoice
from tests.api.platform import Account, Api, Rows, run_api

PAGE = "/dashboard/billing"


@pytest.fixture(scope="module")
def api(api_database_url: str, servers: Servers, rows: Rows, folder: Path) -> Generator[Api]:
    del rows
    with run_api(api_database_url, servers.redis_url, folder) as running:
        yield running


def shown(api: Api, rows: Rows, account: Account) -> str:
    answer = api.http.get(PAGE, headers=rows.session(account).cookie)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    return answer.text


def test_it_shows_the_month_budgets_credits_and_invoices(api: Api, rows: Rows) -> None:
    account, other = rows.account(billing="auto"), rows.account()
    assert "not billed" in shown(api, rows, account), "no keys of Stripe here"
    rows.budget(account, 5_000_000)
    rows.budget(other, 7_000_000)
    rows.execute(
        "INSERT INTO account_months (account_id, month, spent_micros, held_micros, free_used)"
        " VALUES (%(id)s, date_trunc('month', now() AT TIME ZONE 'UTC'), 1234567, 2500, 3)",
        {"id": account.id},
    )
    rows.execute(
        "INSERT INTO credit_grants (id, account_id, granted_micros, balance_micros, created_at)"
        " VALUES (gen_random_uuid(), %(id)s, 9000000, 8000000, now())",
        {"id": account.id},
    )
    invoice(rows, account)
    rows.execute(
        "UPDATE invoices SET hosted_url = 'https://pay.example/\"><script>' WHERE account_id = %(id)s",
        {"id": account.id},
    )
    text = shown(api, rows, account)
    assert "$1.234567 spent, $0.0025 held" in text
    assert "3 of 100 free casts used" in text
    assert "of $5.00" in text
    assert "$7.00" not in text, "another account's budget"
    assert "$8.00 left" in text
    assert "https://pay.example/&quot;&gt;&lt;script&gt;" in text
    assert "<script" not in text


def test_who_is_not_signed_in_signs_in_first_and_a_key_is_nobody(api: Api, rows: Rows) -> None:
    for headers in ({}, rows.account().headers):
        answer = api.http.get(PAGE, headers=headers, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/login?return_to={PAGE}")


def test_without_stripe_nothing_is_opened(api: Api, rows: Rows) -> None:
    cookie = {**rows.session(rows.account()).cookie, "origin": api.url}
    for button in ("subscribe", "portal"):
        answer = api.http.post(f"{PAGE}/{button}", headers=cookie)
        assert (answer.status_code, answer.json()["error"]) == (404, "billing_off")
        foreign = api.http.post(f"{PAGE}/{button}", headers={**cookie, "origin": "https://evil.example"})
        assert foreign.status_code == 403
