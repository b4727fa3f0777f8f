"""Every way to sign in, by a real browser: pages, cookies, policies and forms as a person meets them."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from local.mail import MailCatcher
from local.oidc import OidcMock
from local.servers import Servers
from tests.api.login_world import SIGNING_KEY, run_login_api
from tests.api.platform import REPOSITORY, Api, Rows

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_MS = 60_000
LINK = re.compile(r"http://[^\s<]+/auth/verify\?token=[A-Za-z0-9_-]{43}")

expect.set_options(timeout=PATIENCE_MS)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser here: apt-get install chromium")


class Site(msgspec.Struct, frozen=True):
    api: Api
    mail: MailCatcher


@pytest.fixture(scope="module")
def site(
    api_database_url: str, servers: Servers, rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Site]:
    """The api with a GitHub, an OpenID provider and a server for mail, and the courier that hands mail in."""
    del rows
    folder = tmp_path_factory.mktemp("login")
    mail, issuer = MailCatcher(folder / "mail"), OidcMock(folder / "oidc")
    mail.start()
    issuer.start()
    try:
        settings = {**issuer.settings, "SMTP_URL": mail.smtp_url}
        with (
            run_login_api(api_database_url, servers.redis_url, folder, **settings) as (api, _),
            courier(api_database_url, mail, api, folder / "courier.log"),
        ):
            yield Site(api, mail)
    finally:
        issuer.stop()
        mail.stop()


@contextmanager
def courier(database_url: str, mail: MailCatcher, api: Api, log_file: Path) -> Generator[None]:
    environment = {
        "DATABASE_URL": database_url,
        "SMTP_URL": mail.smtp_url,
        "WEBHOOK_SIGNING_KEY": SIGNING_KEY.hex(),
        "PUBLIC_URL": api.url,
    }
    command = [sys.executable, "-m", "workers.courier"]
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


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
    """A tab of a browser that nobody used before. What a policy of ours blocks fails the test."""
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    blocked: list[str] = []
    opened.on("console", lambda told: blocked.append(told.text) if "Content Security Policy" in told.text else None)
    yield opened
    context.close()
    assert blocked == []


def signed_in_as(page: Page, site: Site, mail: str) -> None:
    page.wait_for_url(f"{site.api.url}/account")
    expect(page.get_by_text(f"Mail: {mail}")).to_be_visible()
    cookie = next(cookie for cookie in page.context.cookies() if cookie["name"] == "spell_session")
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    assert page.evaluate("document.cookie") == ""


def sign_out(page: Page, site: Site) -> None:
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{site.api.url}/login")
    page.goto(f"{site.api.url}/account")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def link_mailed_to(site: Site, address: str) -> str:
    """Return the link in the newest mail to an address, as soon as it is caught."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() < deadline:
        for mail in httpx.get(site.mail.url).text.split("<article>")[1:]:
            found = LINK.search(mail)
            if f"To {address}" in mail and found is not None:
                return found[0]
        time.sleep(0.05)
    pytest.fail(f"no mail to {address}")


def test_github(page: Page, site: Site) -> None:
    page.goto(f"{site.api.url}/account")
    page.get_by_role("link", name="Continue with GitHub").click()
    page.get_by_role("button", name="Sign in as ada").click()
    signed_in_as(page, site, "ada@example.com")
    sign_out(page, site)


def test_an_openid_provider(page: Page, site: Site) -> None:
    page.goto(f"{site.api.url}/login")
    page.get_by_role("link", name="Continue with 127.0.0.1").click()
    page.get_by_role("button", name="ada", exact=True).click()
    signed_in_as(page, site, "ada@example.com")
    sign_out(page, site)


def test_turned_down_at_the_openid_provider(page: Page, site: Site) -> None:
    page.goto(f"{site.api.url}/login")
    page.get_by_role("link", name="Continue with 127.0.0.1").click()
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_text("You turned it down there.")).to_be_visible()
    page.get_by_role("link", name="Sign in").click()
    page.wait_for_url(f"{site.api.url}/login")


def test_a_mailed_link(page: Page, site: Site, chromium: Browser) -> None:
    page.goto(f"{site.api.url}/login")
    page.get_by_label("Mail address").fill("grace@example.org")
    page.get_by_role("button", name="Mail me a link").click()
    expect(page.get_by_text("A link is on its way to grace@example.org")).to_be_visible()
    link = link_mailed_to(site, "grace@example.org")
    elsewhere = chromium.new_context()
    other = elsewhere.new_page()
    other.goto(link)
    expect(other.get_by_role("heading", name="Another browser")).to_be_visible()
    elsewhere.close()
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    signed_in_as(page, site, "grace@example.org")
    page.goto(link)
    expect(page.get_by_text("This link is over")).to_be_visible()
