"""A browser without a window, as far as logins go: cookies, links, forms, and the stand-in for GitHub behind them."""

import html
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec

from domain.model.login import LinkPayload, link_token
from local.github import FakeGithub
from tests.api.platform import Api, Rows, run_api

SIGNING_KEY = bytes(range(32))
FORM = {"content-type": "application/x-www-form-urlencoded"}
_INPUT = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')


@contextmanager
def run_login_api(
    database_url: str, redis_url: str, folder: Path, **settings: str
) -> Generator[tuple[Api, FakeGithub]]:
    """Run an api with every way to sign in but an OpenID issuer, and the GitHub it uses."""
    github = FakeGithub(folder / "github", callback_url="")
    told = {name: value for name, value in github.settings.items() if value}
    github.start()
    try:
        with run_api(
            database_url,
            redis_url,
            folder,
            **told,
            # Every test asks from one address; forwarded ones stand for others.
            **{
                "SMTP_URL": "smtp://127.0.0.1:1",
                "WEBHOOK_SIGNING_KEY": SIGNING_KEY.hex(),
                "TRUSTED_PROXIES": "127.0.0.0/8",
                **settings,
            },
        ) as api:
            github.callback_url = f"{api.url}/auth/callback"
            yield api, github
    finally:
        github.stop()


class Browser:
    """Keeps cookies, and sends what a browser sends of itself, from an address of its own. It follows nothing."""

    def __init__(self, api: Api) -> None:
        self.api = api
        here = str(IPv4Address(int(IPv4Address("10.0.0.0")) + secrets.randbelow(2**24)))
        self.http = httpx.Client(timeout=30, trust_env=False, headers={"x-forwarded-for": here})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def get(self, url: str, **more: Any) -> httpx.Response:
        return self.http.get(self._whole(url), **more)

    def submit(self, path: str, fields: dict[str, str]) -> httpx.Response:
        """Send a form of a page of the platform."""
        headers = {"origin": self.api.url, "sec-fetch-site": "same-origin"}
        return self.http.post(self._whole(path), data=fields, headers=headers)

    def begin(self, path: str = "/auth/github") -> str:
        """Begin a login and return where the browser is sent."""
        answer = self.get(path)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def approve(self, address: str, login: str = "ada") -> str:
        """Sign in at the stand-in for GitHub and return where the browser is sent back."""
        shown = self.http.get(address)
        assert shown.status_code == 200, shown.text
        fields = {html.unescape(name): html.unescape(value) for name, value in _INPUT.findall(shown.text)}
        decided = self.http.post(address.partition("?")[0], data={**fields, "login": login})
        assert decided.status_code == 302, decided.text
        return decided.headers["location"]

    def sign_in(self, login: str = "ada", path: str = "/auth/github") -> httpx.Response:
        """Go the whole way and return the answer that ends it."""
        return self.get(self.approve(self.begin(path), login))

    def me(self) -> dict[str, Any]:
        answer = self.get("/auth/me")
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def session(self) -> str | None:
        return self.http.cookies.get("spell_session")

    def _whole(self, url: str) -> str:
        return url if "://" in url else f"{self.api.url}{url}"


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def mailed_tokens(rows: Rows, email: str) -> list[str]:
    """Return the tokens of the links that were mailed to an address, the first first, as the courier derives them."""
    found = rows.execute(
        "SELECT payload FROM outgoing WHERE target = %(email)s AND event_type = 'login.link' ORDER BY created_at, id",
        {"email": email},
    )
    payloads = [msgspec.json.decode(row[0], type=LinkPayload) for row in found]
    return [link_token(bytes.fromhex(payload.seed), SIGNING_KEY) for payload in payloads]
