"""Buying credits in a real browser: from the platform's answer through Stripe's page and back."""

import shutil
from collections.abc import Generator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from local.servers import Servers
from tests.api.platform import Account, Rows
from tests.api.shop import Shop, run_shop, until
from tests.servers import flush_redis

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_MS = 60_000

expect.set_options(timeout=PATIENCE_MS)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser here: apt-get install chromium")


@pytest.fixture(scope="module")
def shop(
    api_database_url: str, servers: Servers, rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Shop]:
    flush_redis(servers.redis_url)
    with run_shop(api_database_url, servers.redis_url, tmp_path_factory.mktemp("shop"), rows) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Generator[Browser]:
    with sync_playwright() as playwright:
        # The tests may run as root, where the browser's own sandbox does not.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments, timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, shop: Shop, buyer: Account) -> Generator[Page]:
    """A tab of a browser in which the buyer is signed in."""
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE_MS)
    session = shop.rows.session(buyer)
    context.add_cookies([{"name": "spell_session", "value": session.token, "url": shop.api.url}])
    yield context.new_page()
    context.close()


@pytest.fixture
def buyer(shop: Shop) -> Account:
    return shop.buyer()


def test_a_package_is_bought_by_card_and_pays_a_cast(page: Page, shop: Shop, buyer: Account) -> None:
    made = shop.buy(buyer)
    page.goto(made["checkout_url"])
    expect(page.get_by_text("1,000 credits (Starter)").first).to_be_visible()
    page.get_by_role("button", name="Try a card that is declined").click()
    expect(page.get_by_role("button", name="Pay $9.99 by card")).to_be_visible()
    assert shop.balance(buyer) == 0
    page.get_by_role("button", name="Pay $9.99 by card").click()
    page.wait_for_url(f"{shop.api.url}/account?credits=paid")
    until(lambda: shop.balance(buyer), 1_000)
    shop.rows.execute("UPDATE accounts SET plan = 'pro' WHERE id = %(id)s", {"id": buyer.id})
    shop.rows.execute(
        "INSERT INTO account_months (account_id, month, free_used)"
        " VALUES (%(id)s, date_trunc('month', now() AT TIME ZONE 'UTC')::date, 100)",
        {"id": buyer.id},
    )
    spell = shop.rows.spell(buyer, "mine")
    cast = shop.post("/v1/casts", buyer, {"spell": spell, "input": 1})
    assert (cast.status_code, cast.json()["cost"]["funding"]) == (202, "credits")
    assert shop.get("/v1/credits/balance", buyer)["held_micros"] == cast.json()["cost"]["held_micros"]


def test_who_goes_back_has_bought_nothing(page: Page, shop: Shop, buyer: Account) -> None:
    made = shop.buy(buyer)
    page.goto(made["checkout_url"])
    page.get_by_role("button", name="Cancel and go back").click()
    page.wait_for_url(f"{shop.api.url}/account?credits=left")
    assert (shop.balance(buyer), shop.status(buyer, made["order_id"])) == (0, "pending")


def test_a_bank_debit_counts_days_later(page: Page, shop: Shop, buyer: Account) -> None:
    made = shop.buy(buyer, "writer")
    page.goto(made["checkout_url"])
    page.get_by_role("button", name="by bank debit (settles in 4 days)").click()
    page.wait_for_url(f"{shop.api.url}/account?credits=paid")
    shop.stripe.settle()
    assert shop.balance(buyer) == 0
    shop.stripe.advance(5 * 86_400)
    until(lambda: shop.balance(buyer), 5_000)
