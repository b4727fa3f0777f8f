"""Stripe does not answer, from before the api starts until it ends: casts are paid and accepted all the same."""

from collections.abc import Generator
from pathlib import Path

import pytest

from local.servers import Servers
from local.stripe.fake import PRICE_PRO
from tests.api.platform import Account, Api, Rows, run_api
from tests.api.test_billing import billed, cast, post

NOBODY = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def api(api_database_url: str, servers: Servers, rows: Rows, folder: Path) -> Generator[Api]:
    del rows
    settings = {
        "STRIPE_SECRET_KEY": "sk_test_away",
        "STRIPE_WEBHOOK_SECRET": "whsec_away",
        "STRIPE_API_BASE": NOBODY,
        "STRIPE_PRICE_PRO": PRICE_PRO,
        "FREE_TIER_RUNS_LIMIT": "0",
    }
    with run_api(api_database_url, servers.redis_url, folder, **settings) as running:
        yield running


@pytest.fixture
def customer(rows: Rows) -> Account:
    return billed(rows)


def test_metered_casts_go_on(api: Api, rows: Rows, customer: Account) -> None:
    assert cast(api, rows, customer) == (402, "free_tier_exhausted")
    rows.execute("UPDATE accounts SET subscription_active = true, plan = 'pro' WHERE id = %(id)s", {"id": customer.id})
    assert [cast(api, rows, customer)[0] for _ in range(3)] == [202] * 3


def test_casts_paid_by_credits_go_on(api: Api, rows: Rows, customer: Account) -> None:
    rows.execute(
        "INSERT INTO credit_grants (id, account_id, granted_micros, balance_micros, created_at)"
        " VALUES (gen_random_uuid(), %(id)s, 9000000, 9000000, now())",
        {"id": customer.id},
    )
    assert [cast(api, rows, customer)[0] for _ in range(3)] == [202] * 3


def test_what_is_here_is_shown_and_what_only_stripe_can_do_says_when_to_come_again(api: Api, customer: Account) -> None:
    assert api.http.get("/readyz").status_code == 200
    for path in ("billing", "plans", "credits/balance", "credits/packages", "invoices"):
        assert api.http.get(f"/v1/{path}", headers=customer.headers).status_code == 200, path
    for path in ("checkout", "portal"):
        answer = post(api, customer, path)
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["retryable"] is True
