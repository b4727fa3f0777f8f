"""Creators over HTTP: onboarded at the stand-in for Stripe, paid, shown what came, and run by the operator."""

import asyncio
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from domain.store.connection import Role, open_pool
from local.servers import Servers
from local.stripe.fake import FakeStripe
from scheduler.outbox.loop import Outbox
from scheduler.payouts import go_on
from tests.api.paying import follow, run_shop
from tests.api.platform import ADMIN_SECRET, Account, Api, Rows, Signed
from tests.scheduler.billed_many import gateway_of

CONNECT = "whsec_of_connected_accounts"
Shop = tuple[Api, FakeStripe]


@pytest.fixture(scope="module")
def shop(api_database_url: str, servers: Servers, rows: Rows, folder: Path) -> Generator[Shop]:
    del rows
    with run_shop(api_database_url, servers.redis_url, folder, STRIPE_CONNECT_WEBHOOK_SECRET=CONNECT) as both:
        yield both


@pytest.fixture
def creator(rows: Rows) -> Account:
    account = rows.account()
    scopes = ["billing:read", "billing:write"]
    rows.execute("UPDATE api_keys SET scopes = %(s)s WHERE id = %(id)s", {"s": scopes, "id": account.key_id})
    return account


@pytest.fixture
def signed(rows: Rows, creator: Account) -> Signed:
    return rows.session(creator)


def ask(api: Api, signed: Signed, path: str, json: Any = None, **headers: str) -> httpx.Response:
    return api.http.post(f"/v1/payouts/{path}", json=json, headers={**signed.headers, **headers})


def show(api: Api, creator: Account) -> dict[str, Any]:
    answer = api.http.get("/v1/payouts/account", headers=creator.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def accounts_of(stripe: FakeStripe, creator: Account) -> list[str]:
    return [one["id"] for one in stripe.objects("account") if one["metadata"] == {"account_id": str(creator.id)}]


def owe(rows: Rows, creator: Account, micros: int, days: int = 30) -> None:
    rows.execute(
        "INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, month, created_at)"
        " VALUES (%(id)s, %(id)s, 'share_collected', 'creator:' || %(who)s, 'payable:' || %(who)s, %(micros)s, %(who)s,"
        " '2026-01-01', now() - make_interval(days => %(days)s))",
        {"id": uuid4(), "who": creator.id, "micros": micros, "days": days},
    )


def test_a_creator_is_onboarded_once_whoever_asks(
    shop: Shop, rows: Rows, api_database_url: str, creator: Account, signed: Signed
) -> None:
    api, stripe = shop
    assert show(api, creator)["status"] == "none"
    assert ask(api, signed, "login-link").status_code == 409
    first = ask(api, signed, "onboarding", {"country": "DE"})
    assert first.status_code == 200, first.text
    assert set(first.json()) == {"url", "expires_at"}
    again = ask(api, signed, "onboarding")
    assert again.json()["url"] != first.json()["url"], "a link is good for one visit"
    (account,) = accounts_of(stripe, creator)
    assert stripe.object(account)["country"] == "DE"
    assert show(api, creator) == {
        "status": "incomplete", "stripe_account_id": account, "payouts_enabled": False,
        "disabled_reason": "requirements.past_due", "payable_micros": 0, "held_back_micros": 0,
        "paid_from_cents": 1000, "currency": "usd",
    }  # fmt: skip
    done = httpx.post(again.json()["url"], data={"do": "submit"})
    assert done.headers["location"] == f"{api.url}/dashboard/payouts?onboarding=done"
    follow(api_database_url, stripe)
    assert show(api, creator)["status"] == "active"
    assert ask(api, signed, "login-link").json()["url"].startswith(stripe.url)
    actions = rows.execute("SELECT action FROM audit_log WHERE account_id = %(id)s ORDER BY at", {"id": creator.id})
    assert actions[0] == ("payout_account.create",)
    assert ("payout_account.update",) in actions


def test_a_key_opens_no_page_of_stripes(shop: Shop, creator: Account) -> None:
    api, _ = shop
    for path in ("onboarding", "login-link"):
        assert api.http.post(f"/v1/payouts/{path}", headers=creator.headers).status_code == 403


def test_a_country_that_is_none_is_refused(shop: Shop, signed: Signed) -> None:
    api, _ = shop
    for country in ("de", "DEU", ""):
        assert ask(api, signed, "onboarding", {"country": country}).status_code == 422


def test_an_account_nobody_heard_of_is_found_and_not_made_again(
    shop: Shop, rows: Rows, creator: Account, signed: Signed
) -> None:
    """Stripe made it and did not answer; a day later the key is forgotten there."""
    api, stripe = shop
    stripe.fail("error_after", path="/v1/accounts", calls=1)
    lost = ask(api, signed, "onboarding")
    assert (lost.status_code, lost.json()["retryable"]) == (503, True)
    assert len(accounts_of(stripe, creator)) == 1
    assert ask(api, signed, "onboarding").status_code == 503, "Stripe has stored its 500"
    rows.execute(
        "UPDATE payout_accounts SET tried_at = tried_at - interval '2 minutes' WHERE account_id = %(id)s",
        {"id": creator.id},
    )
    assert ask(api, signed, "onboarding").status_code == 200
    assert len(accounts_of(stripe, creator)) == 1


def test_a_stored_answer_of_nothing_made_is_left_behind(
    shop: Shop, rows: Rows, creator: Account, signed: Signed
) -> None:
    api, stripe = shop
    stripe.fail("error", path="/v1/accounts", calls=1)
    assert ask(api, signed, "onboarding").status_code == 503
    assert ask(api, signed, "onboarding").status_code in {200, 503}
    rows.execute(
        "UPDATE payout_accounts SET tried_at = tried_at - interval '2 minutes' WHERE account_id = %(id)s",
        {"id": creator.id},
    )
    assert ask(api, signed, "onboarding").status_code == 200
    assert len(accounts_of(stripe, creator)) == 1


def test_another_country_a_moment_later_makes_no_second_account(shop: Shop, creator: Account, signed: Signed) -> None:
    api, stripe = shop
    stripe.fail("error_after", path="/v1/accounts", calls=1)
    ask(api, signed, "onboarding", {"country": "DE"})
    answer = ask(api, signed, "onboarding", {"country": "FR"})
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    assert len(accounts_of(stripe, creator)) == 1


def test_an_account_that_is_gone_at_stripe_is_made_anew(shop: Shop, creator: Account, signed: Signed) -> None:
    api, stripe = shop
    ask(api, signed, "onboarding")
    (account,) = accounts_of(stripe, creator)
    httpx.delete(f"{stripe.url}/v1/accounts/{account}", auth=(stripe.secret_key, "")).raise_for_status()
    assert ask(api, signed, "onboarding").status_code == 200
    (fresh,) = accounts_of(stripe, creator)
    assert fresh != account
    assert show(api, creator)["stripe_account_id"] == fresh


def test_news_of_connected_accounts_has_a_secret_of_its_own(shop: Shop) -> None:
    api, stripe = shop
    body = b'{"object": "event", "id": "evt_c", "type": "account.updated", "created": 1, "account": "acct_x",'
    body += b' "data": {"object": {"object": "account", "id": "acct_x"}}}'
    good = stripe.signed(body, secret=CONNECT)
    assert api.http.post("/webhooks/stripe", content=body, headers=good).status_code == 200
    bad = stripe.signed(body, secret="whsec_of_somebody")
    assert api.http.post("/webhooks/stripe", content=body, headers=bad).status_code == 400


def test_what_is_owed_and_what_was_paid_is_shown(shop: Shop, rows: Rows, creator: Account) -> None:
    api, _ = shop
    owe(rows, creator, 25_000_000)
    owe(rows, creator, 3_000_000, days=2)
    found = show(api, creator)
    assert (found["payable_micros"], found["held_back_micros"]) == (28_000_000, 3_000_000)
    ids = [pay(rows, creator, month, *how) for month, how in enumerate(STATES, start=1)]
    answer = api.http.get("/v1/payouts?limit=3", headers=creator.headers)
    page = answer.json()
    assert [row["id"] for row in page["data"]] == ids[:1:-1]
    assert [row["status"] for row in page["data"]] == ["reversed", "paid", "failed"]
    assert page["has_more"]
    assert 'rel="next"' in answer.headers["link"]
    rest = api.http.get(f"/v1/payouts?cursor={page['next_cursor']}", headers=creator.headers).json()
    assert [row["status"] for row in rest["data"]] == ["paid", "pending"]
    assert rest["data"][0]["reversed_cents"] == 0
    assert page["data"][2]["failure_code"] == "account_invalid"
    assert api.http.get("/v1/payouts", headers=rows.account().headers).status_code == 403
    text = api.http.get("/dashboard/payouts", headers=rows.session(creator).cookie).text
    assert "$28.00" in text
    assert "$3.00 of it became payable" in text
    assert "2026-04: $12.00, paid, of which $5.00 were taken back" in text


STATES = [
    ("pending", 0, None), ("paid", 0, None), ("refused", 0, "account_invalid"), ("paid", 500, None),
    ("paid", 1200, None),
]  # fmt: skip


def pay(rows: Rows, creator: Account, month: int, status: str, back_cents: int, code: str | None) -> str:
    payout_id, period = uuid4(), f"2026-{month:02d}-01"
    parameters = {
        "id": payout_id, "who": creator.id, "period": period, "status": status, "back": back_cents, "code": code,
    }  # fmt: skip
    rows.execute(
        "INSERT INTO payout_runs (id, period, started_at, listed_at, finished_at)"
        " VALUES (%(id)s, %(period)s, now(), now(), now()) ON CONFLICT DO NOTHING",
        parameters,
    )
    rows.execute(
        "INSERT INTO payouts (id, account_id, run_id, period, frozen_at, payable_micros, held_back_micros,"
        " amount_cents, stripe_account_id, status, reversed_cents, refused_code, finished_at)"
        " SELECT %(id)s, %(who)s, id, period, period, 12000000, 0, 1200, 'acct_1', %(status)s, %(back)s, %(code)s,"
        " CASE WHEN %(status)s <> 'pending' THEN now() END FROM payout_runs WHERE period = %(period)s",
        parameters,
    )
    return str(payout_id)


def test_the_operator_starts_a_run_and_sees_what_became_of_everybody(
    shop: Shop, rows: Rows, api_database_url: str, creator: Account, signed: Signed
) -> None:
    api, stripe = shop
    url = ask(api, signed, "onboarding").json()["url"]
    httpx.post(url, data={"do": "submit"})
    follow(api_database_url, stripe)
    owe(rows, creator, 25_000_001)
    stripe.add_funds(100_00)
    admin = {"X-Admin-Secret": ADMIN_SECRET}
    for period in ("soon", "2999-01"):
        refused = api.http.post("/admin/payouts/process-monthly", json={"period": period}, headers=admin)
        assert refused.status_code == 422
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(lambda: api.http.post("/admin/payouts/process-monthly", headers=admin, timeout=120))
        while not asked.done():
            asyncio.run(go_on_once(api_database_url, stripe))
    found = asked.result().json()
    assert (found["successful"], found["errors"], found["pending"], found["paid_cents"]) == (1, 0, 0, 25_00)
    shown = api.http.get(f"/admin/payouts/runs/{found['period']}", headers=admin).json()
    assert shown["finished"]
    (mine,) = [one for one in shown["data"] if one["account_id"] == str(creator.id)]
    assert (mine["outcome"], mine["status"], mine["amount_cents"], mine["trouble"]) == ("frozen", "paid", 25_00, None)
    assert mine["stripe_transfer_id"] in {one["id"] for one in stripe.objects("transfer")}
    for period in ("soon", "2001-01"):
        assert api.http.get(f"/admin/payouts/runs/{period}", headers=admin).status_code == 404


async def go_on_once(database_url: str, stripe: FakeStripe) -> None:
    """Do what the scheduler does in a moment."""
    async with gateway_of(stripe) as gateway, open_pool(database_url, role=Role.ENGINE, size_max=4) as pool:
        now = datetime.now(UTC)
        await go_on(pool, now)
        await Outbox(pool, gateway).run_once(now)


def test_the_page_leads_to_stripe_and_shows_what_came(
    shop: Shop, rows: Rows, api_database_url: str, creator: Account, signed: Signed
) -> None:
    api, stripe = shop
    headers = {**signed.cookie, "origin": api.url}
    assert "does not know you yet" in api.http.get("/dashboard/payouts", headers=headers).text
    onward = api.http.post("/dashboard/payouts/onboarding", headers=headers)
    assert onward.status_code == 200, onward.text
    url = onward.text.partition('href="http')[2].partition('"')[0]
    httpx.get(f"http{url}")
    late = httpx.get(f"http{url}", follow_redirects=False)
    assert late.headers["location"] == f"{api.url}/dashboard/payouts?onboarding=again"
    assert "Get another one" in api.http.get("/dashboard/payouts?onboarding=again", headers=headers).text
    httpx.post(f"http{url}", data={"do": "submit"})
    follow(api_database_url, stripe)
    assert "You can be paid" in api.http.get("/dashboard/payouts?onboarding=done", headers=headers).text
    assert stripe.url in api.http.post("/dashboard/payouts/stripe", headers=headers).text
    (account,) = accounts_of(stripe, creator)
    stripe.restrict(account)
    follow(api_database_url, stripe)
    assert "requirements.past_due" in api.http.get("/dashboard/payouts", headers=headers).text
    actions = rows.execute("SELECT action FROM audit_log WHERE account_id = %(id)s", {"id": creator.id})
    assert ("payout_account.create",) in actions
    owe(rows, creator, 1)
    rows.execute(
        "UPDATE ledger_transfers SET debit = credit, credit = debit WHERE account_id = %(id)s", {"id": creator.id}
    )
    assert "were taken back after they were paid" in api.http.get("/dashboard/payouts", headers=headers).text
    assert "/login" in api.http.get("/dashboard/payouts", follow_redirects=False).headers["location"]
