"""Buying credits from end to end: the api, a scheduler, and a Stripe of this machine with its pages and its news."""

import asyncio
import subprocess
import sys
from collections.abc import Generator
from uuid import UUID

import msgspec
import pytest
import stripe

from local.servers import Servers
from local.stripe.faults import ERROR, ERROR_AFTER, RESET, RESET_AFTER
from tests.api.platform import ADMIN_SECRET, PATIENCE_SECONDS, REPOSITORY, Account, Api, Rows, run_api
from tests.api.shop import Shop, run_shop, until
from tests.domain.credit_books import broken_credits
from tests.servers import flush_redis

ADMIN = {"x-admin-secret": ADMIN_SECRET}
DAY_S = 86_400


@pytest.fixture(scope="module")
def shop(
    api_database_url: str, servers: Servers, rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Shop]:
    flush_redis(servers.redis_url)
    with run_shop(api_database_url, servers.redis_url, tmp_path_factory.mktemp("shop"), rows) as running:
        yield running
    assert asyncio.run(broken_credits(api_database_url)) == {}


@pytest.fixture
def buyer(shop: Shop) -> Account:
    return shop.buyer()


def test_a_package_is_bought_and_funds_casts(shop: Shop, buyer: Account) -> None:
    made = shop.buy(buyer)
    assert made["package"]["id"] == "starter"
    assert (made["status"], made["session_id"][:3]) == ("pending", "cs_")
    assert shop.balance(buyer) == 0
    session = shop.stripe.object(made["session_id"])
    assert (session["amount_total"], session["mode"], session["currency"]) == (999, "payment", "usd")
    assert session["metadata"] == {"spell_order": made["order_id"]}
    shop.stripe.pay(made["session_id"])
    until(lambda: shop.status(buyer, made["order_id"]), "completed")
    assert shop.balance(buyer) == 1_000
    spell = shop.rows.spell(buyer, "mine")
    shop.rows.execute("UPDATE accounts SET plan = 'pro' WHERE id = %(id)s", {"id": buyer.id})
    fundings = []
    for number in range(101):
        cast = shop.post("/v1/casts", buyer, {"spell": spell, "input": number}).json()
        fundings.append(cast["cost"]["funding"])
    assert fundings == ["free"] * 100 + ["credits"]
    (transaction,) = shop.get("/v1/credits/history", buyer)["transactions"]
    assert (transaction["transaction_type"], transaction["amount"], transaction["reference_id"]) == (
        "purchase", 1_000, made["order_id"],
    )  # fmt: skip


def test_authorworks_paths_and_words(shop: Shop, buyer: Account) -> None:
    answer = shop.post("/subscription/credits/checkout", buyer, {"package_id": "writer"})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert {"order_id", "session_id", "checkout_url", "package"} <= set(made)
    shop.stripe.pay(made["session_id"])
    until(lambda: shop.balance(buyer), 5_000)
    assert shop.get("/subscription/credits/balance", buyer)["total_purchased"] == 5_000


def test_the_same_call_orders_once_and_gets_the_same_page(shop: Shop, buyer: Account) -> None:
    body = {"package": "starter"}
    answers = [shop.post("/v1/credits/checkout", buyer, body, **{"idempotency-key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert "idempotent-replayed" in answers[1].headers
    assert len(shop.get("/v1/credits/orders", buyer)["data"]) == 1
    other = shop.post("/v1/credits/checkout", buyer, {"package": "writer"}, **{"idempotency-key": "k"})
    assert (other.status_code, other.json()["error"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(("fault", "made"), [(ERROR, 1), (ERROR_AFTER, 2), (RESET, 1), (RESET_AFTER, 1)])
def test_a_call_that_stripe_failed_is_repeated_to_a_page_of_the_same_order(
    shop: Shop, buyer: Account, fault: str, made: int
) -> None:
    """A page that was made and whose answer was a 500, which Stripe keeps, is nobody's: another is made."""
    shop.stripe.fail(fault, path="/v1/checkout/sessions")
    body = {"package": "starter"}
    failed = shop.post("/v1/credits/checkout", buyer, body, **{"idempotency-key": "k"})
    assert (failed.status_code, failed.json()["error"]) == (503, "provider_unavailable")
    again = shop.post("/v1/credits/checkout", buyer, body, **{"idempotency-key": "k"})
    assert again.status_code == 201, again.text
    order_id = again.json()["order_id"]
    assert [order["id"] for order in shop.get("/v1/credits/orders", buyer)["data"]] == [order_id]
    pages = [one for one in shop.stripe.sessions() if one["client_reference_id"] == order_id]
    assert len(pages) == made
    assert again.json()["session_id"] == pages[-1]["id"]
    shop.stripe.pay(pages[-1]["id"])
    until(lambda: shop.balance(buyer), 1_000)


def test_a_debit_counts_when_the_bank_has_paid(shop: Shop, buyer: Account) -> None:
    paid, failed = shop.buy(buyer), shop.buy(buyer)
    for made in (paid, failed):
        assert shop.stripe.pay_by_debit(made["session_id"])["payment_status"] == "unpaid"
    shop.stripe.settle()
    assert shop.balance(buyer) == 0
    shop.stripe.settle_debit(failed["session_id"], succeeds=False)
    until(lambda: shop.status(buyer, failed["order_id"]), "failed")
    assert (shop.balance(buyer), shop.status(buyer, paid["order_id"])) == (0, "pending")
    shop.stripe.settle_debit(paid["session_id"])
    until(lambda: shop.balance(buyer), 1_000)


def test_a_page_that_nobody_pays_expires(shop: Shop, buyer: Account) -> None:
    made = shop.buy(buyer)
    shop.stripe.advance(2 * DAY_S)
    until(lambda: shop.status(buyer, made["order_id"]), "expired")
    assert shop.get(f"/v1/credits/orders/{made['order_id']}", buyer)["checkout_url"] is None


def test_duplicates_and_disorder_change_nothing(shop: Shop, buyer: Account) -> None:
    shop.stripe.webhooks(duplicate_rate=0.5, delay_s=(0.0, 1.0), seed=7)
    try:
        bought = [shop.buy(buyer) for _ in range(5)]
        for made in bought:
            shop.stripe.pay(made["session_id"])
        shop.stripe.dispute(shop.payment_of(bought[0]["session_id"]))
        until(lambda: shop.status(buyer, bought[0]["order_id"]), "disputed")
        until(lambda: shop.balance(buyer), 4_000)
        for event in shop.stripe.events("checkout.session.completed", "charge.dispute.created"):
            shop.stripe.send(event["id"])
        shop.stripe.settle()
    finally:
        shop.stripe.webhooks(duplicate_rate=0.0, delay_s=(0.0, 0.0))
    kinds = [one["transaction_type"] for one in shop.get("/v1/credits/history", buyer)["transactions"]]
    assert sorted(kinds) == ["dispute"] + ["purchase"] * 5


def test_a_dispute_takes_the_credits_and_gives_them_back_when_it_is_won(shop: Shop, buyer: Account) -> None:
    made = shop.buy(buyer)
    shop.stripe.pay(made["session_id"])
    until(lambda: shop.balance(buyer), 1_000)
    dispute = shop.stripe.dispute(shop.payment_of(made["session_id"]))
    until(lambda: shop.status(buyer, made["order_id"]), "disputed")
    assert shop.balance(buyer) == 0
    shop.stripe.decide(dispute["id"], won=True)
    until(lambda: shop.status(buyer, made["order_id"]), "completed")
    assert shop.balance(buyer) == 1_000


def test_the_operator_refunds_what_nobody_used(shop: Shop, buyer: Account) -> None:
    made = shop.buy(buyer)
    shop.stripe.pay(made["session_id"])
    until(lambda: shop.balance(buyer), 1_000)
    path = f"/admin/credits/orders/{made['order_id']}/refund"
    refund = shop.api.http.post(path, json={"credits": 400}, headers=ADMIN)
    assert refund.status_code == 202, refund.text
    assert shop.balance(buyer) == 600
    charge_id = shop.stripe.object(shop.payment_of(made["session_id"]))["latest_charge"]
    until(lambda: shop.stripe.object(charge_id)["amount_refunded"], 399)
    until(lambda: shop.status(buyer, made["order_id"]), "partly_refunded")
    shop.stripe.settle()
    assert shop.balance(buyer) == 600, "Stripe's own news of it takes nothing more"
    kinds = [one["transaction_type"] for one in shop.get("/v1/credits/history", buyer)["transactions"]]
    assert kinds == ["refund", "purchase"]


def test_credits_that_run_low_are_topped_up_with_the_card_that_was_kept(shop: Shop, buyer: Account) -> None:
    made = shop.buy(buyer, save_payment_method=True)
    shop.stripe.pay(made["session_id"])
    until(lambda: shop.balance(buyer), 1_000)
    shop.use_up(buyer, 999)
    wanted = {"enabled": True, "package": "starter", "threshold": 500, "monthly_cap_cents": 1_500}
    assert shop.api.http.put("/v1/credits/auto-topup", json=wanted, headers=buyer.headers).status_code == 200
    until(lambda: [one["origin"] for one in shop.get("/v1/credits/orders", buyer)["data"]], ["top_up", "checkout"])
    until(lambda: shop.balance(buyer), 1_001)
    newest = shop.get("/v1/credits/orders", buyer)["data"][0]
    assert (newest["origin"], newest["status"]) == ("top_up", "completed")


@pytest.mark.parametrize(
    ("body", "place"),
    [({}, "package"), ({"package": "huge"}, "package"), ({"package": "starter", "package_id": "writer"}, "package_id"),
     ({"package": "starter", "success_url": "https://evil.example/"}, "success_url"),
     ({"package": "starter", "cancel_url": "javascript:alert(1)"}, "cancel_url")],
)  # fmt: skip
def test_what_cannot_be_bought_is_said_with_its_place(
    shop: Shop, buyer: Account, body: dict[str, str], place: str
) -> None:
    answer = shop.post("/v1/credits/checkout", buyer, body)
    assert (answer.status_code, [fault["location"] for fault in answer.json()["errors"]]) == (422, [place])


def test_orders_are_in_the_log_of_who_made_them(shop: Shop, buyer: Account) -> None:
    made = shop.buy(buyer)
    log = shop.rows.execute(
        "SELECT action, actor_kind, target_id FROM audit_log WHERE account_id = %(id)s", {"id": buyer.id}
    )
    assert log == [("credit_order.create", "key", str(UUID(made["order_id"])))]


def test_without_keys_of_stripe_nothing_is_sold_and_everything_else_goes_on(
    api_database_url: str, servers: Servers, rows: Rows, tmp_path: pytest.TempPathFactory
) -> None:
    with run_api(api_database_url, servers.redis_url, tmp_path) as api:  # type: ignore[arg-type]
        check_off(api, rows)


def check_off(api: Api, rows: Rows) -> None:
    account = rows.account()
    session = rows.session(account)
    refused = api.http.post("/v1/credits/checkout", json={"package": "starter"}, headers=session.headers)
    assert (refused.status_code, refused.json()["error"]) == (404, "billing_off")
    assert api.http.get("/v1/credits/balance", headers=session.headers).json()["balance"] == 0
    assert len(api.http.get("/v1/credits/packages", headers=session.headers).json()["packages"]) == 4


def test_the_program_waits_until_the_money_has_come(shop: Shop, buyer: Account) -> None:
    environment = {"PATH": "/usr/bin:/bin", "SPELL_URL": shop.api.url, "SPELL_API_KEY": buyer.key, "HOME": "/nowhere"}
    process = subprocess.Popen(
        [sys.executable, "-c", "from spell.cli import main; main()", "credits", "buy", "starter", "--json"],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: [one["status"] for one in shop.get("/v1/credits/orders", buyer)["data"]], ["pending"])
    (order,) = shop.get("/v1/credits/orders", buyer)["data"]
    until(lambda: shop.get(f"/v1/credits/orders/{order['id']}", buyer)["checkout_url"] is None, False)  # noqa: FBT003
    (page,) = [one for one in shop.stripe.sessions() if one["client_reference_id"] == order["id"]]
    shop.stripe.pay(page["id"])
    told, remarks = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, remarks
    assert f"Pay $9.99 at {page['url']}" in remarks
    found = msgspec.json.decode(told)
    assert (found["order"]["status"], found["balance"]["balance"]) == ("completed", 1_000)


def test_a_package_with_a_price_at_stripe_is_sold_under_it(shop: Shop, buyer: Account) -> None:
    set_price = "UPDATE credit_packages SET stripe_price = %(price)s WHERE id = 'author'"
    shop.rows.execute(set_price, {"price": price_of(shop, 9_999)})
    made = shop.buy(buyer, "author")
    shop.stripe.pay(made["session_id"])
    until(lambda: shop.balance(buyer), 15_000)
    shop.rows.execute(set_price, {"price": price_of(shop, 99)})
    cheap = shop.buy(buyer, "author")
    shop.stripe.pay(cheap["session_id"])
    parked = "SELECT count(*) FROM stripe_events WHERE object_id = %(id)s AND trouble LIKE '%%9999%%'"
    shop.stripe.settle()
    until(lambda: shop.rows.execute(parked, {"id": cheap["session_id"]}), [(1,)])
    assert (shop.balance(buyer), shop.status(buyer, cheap["order_id"])) == (15_000, "pending")
    shop.rows.execute(set_price, {"price": None})


def price_of(shop: Shop, cents: int) -> str:
    """Make a price at Stripe."""
    client = stripe.StripeClient(shop.stripe.secret_key, base_addresses={"api": shop.stripe.url})
    product = client.v1.products.create({"name": "Credits"})
    return client.v1.prices.create({"currency": "usd", "unit_amount": cents, "product": product.id}).id
