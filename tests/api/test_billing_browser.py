"""Somebody subscribes in a real browser: a card that is declined, one that is not, the portal, and the end of it."""

import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from local.servers import Servers
from local.stripe.fake import FakeStripe
from tests.api.paying import follow, run_shop
from tests.api.platform import Api, Rows
from tests.api.test_billing import billed, post, show

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_MS = 60_000

expect.set_options(timeout=PATIENCE_MS)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser here: apt-get install chromium")


@pytest.fixture(scope="module")
def shop(api_database_url: str, servers: Servers, rows: Rows, folder: Path) -> Generator[tuple[Api, FakeStripe]]:
    del rows
    with run_shop(api_database_url, servers.redis_url, folder) as both:
        yield both


@pytest.fixture(scope="module")
def chromium() -> Generator[Browser]:
    with sync_playwright() as playwright:
        # The tests may run as root, where the browser's own sandbox does not.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Generator[Page]:
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


def test_a_person_subscribes_and_leaves(
    shop: tuple[Api, FakeStripe], api_database_url: str, rows: Rows, page: Page
) -> None:
    api, stripe = shop
    customer = billed(rows)
    page.goto(post(api, customer, "checkout").json()["url"])
    expect(page.get_by_role("heading", name="Subscribe $19.99")).to_be_visible()
    expect(page.get_by_text(f"{customer.handle}@example.com")).to_be_visible()
    page.get_by_role("button", name="Try a card that is declined").click()
    expect(page.get_by_role("alert")).to_contain_text("declined")
    follow(api_database_url, stripe)
    assert show(api, customer)["metered"] is False
    page.get_by_role("button", name="Subscribe $19.99 by card").click()
    page.wait_for_url(f"{api.url}/login?return_to=/dashboard/billing")
    follow(api_database_url, stripe)
    assert (show(api, customer)["plan"], show(api, customer)["status"]) == ("pro", "active")
    page.goto(post(api, customer, "portal").json()["url"])
    page.get_by_role("button", name="Cancel").first.click()
    follow(api_database_url, stripe)
    assert show(api, customer)["cancel_at_period_end"] is True


def test_a_person_subscribes_from_the_billing_page(
    shop: tuple[Api, FakeStripe], api_database_url: str, rows: Rows, page: Page
) -> None:
    api, stripe = shop
    customer = billed(rows)
    page.goto(f"{api.url}/dashboard/billing")
    page.wait_for_url(f"{api.url}/login?return_to=/dashboard/billing")
    token = rows.session(customer).token
    page.context.add_cookies([{"name": "spell_session", "value": token, "url": api.url}])
    page.goto(f"{api.url}/dashboard/billing")
    expect(page.get_by_text("of 100 free casts used")).to_be_visible()
    page.get_by_role("button", name="Subscribe to Pro").click()
    page.get_by_role("link", name="Go on").click()
    page.get_by_role("button", name="Subscribe $19.99 by card").click()
    page.wait_for_url(f"{api.url}/dashboard/billing?checkout=success")
    expect(page.get_by_role("status")).to_contain_text("Thank you")
    follow(api_database_url, stripe)
    page.goto(f"{api.url}/dashboard/billing")
    expect(page.get_by_text("Pro (active)")).to_be_visible()
    page.get_by_role("button", name="Cards, receipts, cancellation").click()
    page.get_by_role("link", name="Go on").click()
    expect(page.get_by_role("button", name="Cancel").first).to_be_visible()
