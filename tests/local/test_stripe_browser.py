"""The pages of the stand-in by a real browser: checkout, the portal, onboarding and the operator's buttons."""

import shutil
from collections.abc import Generator
from typing import Any

import pytest
import stripe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from local.stripe.fake import PRICE_PRO, FakeStripe

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_MS = 60_000

expect.set_options(timeout=PATIENCE_MS)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser here: apt-get install chromium")


@pytest.fixture(scope="module")
def chromium() -> Generator[Browser]:
    with sync_playwright() as playwright:
        # The tests may run as root, where the browser's own sandbox does not.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments, timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Generator[Page]:
    """A tab. What the pages' own policy blocks fails the test."""
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    blocked: list[str] = []
    opened.on("console", lambda told: blocked.append(told.text) if "Content Security Policy" in told.text else None)
    yield opened
    context.close()
    assert blocked == []


def session_of(fake: FakeStripe, api: stripe.StripeClient, mode: str, **fields: Any) -> Any:
    """Return a session that leads back to a page which is there: the operator's own."""
    credit = {"currency": "usd", "product_data": {"name": "1,000 credits"}, "unit_amount": 999}
    sold = {"price": PRICE_PRO} if mode == "subscription" else {"price_data": credit}
    terms: Any = {
        "mode": mode,
        "line_items": [{**sold, "quantity": 1}],
        "success_url": f"{fake.url}/stripe/objects/{{CHECKOUT_SESSION_ID}}",
        "cancel_url": f"{fake.url}/stripe/customers",
        **fields,
    }
    return api.v1.checkout.sessions.create(terms)


def test_a_customer_pays_after_a_card_was_declined(page: Page, fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = api.v1.customers.create({"email": "ada@example.com"}).id
    session = session_of(fake, api, "payment", customer=customer)
    page.goto(session.url)
    expect(page.get_by_role("heading", name="Pay $9.99")).to_be_visible()
    expect(page.get_by_text("1,000 credits")).to_be_visible()
    page.get_by_role("button", name="Try a card that is declined").click()
    expect(page.get_by_role("alert")).to_contain_text("declined")
    page.get_by_role("button", name="Pay $9.99 by card").click()
    page.wait_for_url(f"**/stripe/objects/{session.id}")
    assert api.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"
    page.goto(session.url)
    expect(page.get_by_text("There is nothing left to pay here.")).to_be_visible()


def test_a_customer_goes_back_and_another_pays_by_debit(page: Page, fake: FakeStripe, api: stripe.StripeClient) -> None:
    session = session_of(fake, api, "payment")
    page.goto(session.url)
    page.get_by_role("button", name="Cancel and go back").click()
    page.wait_for_url("**/stripe/customers")
    assert api.v1.checkout.sessions.retrieve(session.id).status == "open"
    page.goto(session.url)
    page.get_by_label("Mail address").fill("grace@example.org")
    page.get_by_role("button", name="Pay by bank debit (settles in 4 days)").click()
    page.wait_for_url(f"**/stripe/objects/{session.id}")
    waiting = api.v1.checkout.sessions.retrieve(session.id)
    assert (waiting.status, waiting.payment_status) == ("complete", "unpaid")
    assert waiting.customer_details.email == "grace@example.org"
    page.goto(f"{fake.url}/stripe/clock")
    page.get_by_role("button", name="Forward 5 days").click()
    expect(page.get_by_role("heading", name="Clock and webhook")).to_be_visible()
    assert api.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"


def test_a_subscription_from_checkout_to_the_portal(page: Page, fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = api.v1.customers.create({"email": "ada@example.com"}).id
    session = session_of(fake, api, "subscription", customer=customer)
    page.goto(session.url)
    page.get_by_role("button", name="Subscribe $19.99 by card").click()
    page.wait_for_url(f"**/stripe/objects/{session.id}")
    (subscription,) = fake.subscriptions()
    back = f"{fake.url}/stripe/customers"
    page.goto(api.v1.billing_portal.sessions.create({"customer": customer, "return_url": back}).url)
    expect(page.get_by_text("Spell Pro")).to_be_visible()
    page.get_by_role("button", name="Cancel at the end of the period").click()
    expect(page.get_by_role("button", name="Keep it")).to_be_visible()
    assert api.v1.subscriptions.retrieve(subscription["id"]).cancel_at_period_end is True
    page.get_by_role("button", name="Use a new card").click()
    page.get_by_role("link", name="View").click()
    expect(page.get_by_role("heading", name="Invoice ")).to_be_visible()
    page.go_back()
    page.get_by_role("link", name="Return to the platform").click()
    page.wait_for_url(back)


def test_a_creator_is_onboarded(page: Page, fake: FakeStripe, api: stripe.StripeClient) -> None:
    account = api.v1.accounts.create({"type": "express", "capabilities": {"transfers": {"requested": True}}}).id
    address = f"{fake.url}/stripe/accounts"
    terms: Any = {"account": account, "type": "account_onboarding", "return_url": address, "refresh_url": address}
    page.goto(api.v1.account_links.create(terms).url)
    page.get_by_role("button", name="Submit everything").click()
    page.wait_for_url(address)
    expect(page.get_by_text("onboarded")).to_be_visible()
    assert api.v1.accounts.retrieve(account).payouts_enabled is True


def test_the_operator_sets_a_fault(page: Page, fake: FakeStripe, api: stripe.StripeClient) -> None:
    page.goto(f"{fake.url}/stripe/")
    page.get_by_role("link", name="Faults").click()
    page.get_by_label("kind").select_option("rate_limit")
    page.get_by_label("Path begins with").fill("/v1/balance")
    page.get_by_role("button", name="Set it").click()
    expect(page.get_by_role("cell", name="/v1/balance")).to_be_visible()
    with pytest.raises(stripe.RateLimitError):
        api.v1.balance.retrieve()
    page.reload()
    expect(page.get_by_text("Nothing yet.")).to_be_visible()
