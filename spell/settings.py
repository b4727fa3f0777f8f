"""What a client is made with: the address, the key, and how patient it is."""

import os
import platform
import random
import re
import time
import uuid
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import httpx
import msgspec

from spell.core.exchange import Request, Session
from spell.errors import MissingApiKey, SpellError

KEY_VARIABLE: Final = "SPELL_API_KEY"
URL_VARIABLE: Final = "SPELL_URL"
# Where the platform listens when nothing else was said.
URL_DEFAULT: Final = "http://127.0.0.1:8080"
# A healthy platform answers within a second; what waits longer asks for it.
TIMEOUT_S_DEFAULT: Final = 30.0
# One call with all its retries. A caller that waits longer has given up itself.
TOTAL_TIMEOUT_S_DEFAULT: Final = 120.0
RETRIES_MAX_DEFAULT: Final = 4
_PORT_MAX: Final = 65_535
_SENDABLE: Final = re.compile(r"[\x21-\x7e]+")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a client sends its requests, and as whom. Never shown as a text: it has the key."""

    base_url: str
    api_key: str
    session: Session

    def __repr__(self) -> str:
        """Leave the key out."""
        return f"Settings(base_url={self.base_url!r})"

    def url(self, request: Request) -> str:
        """Return the address of a request, without its query."""
        return self.base_url + request.path

    def headers(self, request: Request) -> dict[str, str]:
        """Return the headers of a request, with the credentials."""
        return {
            "user-agent": USER_AGENT,
            "accept": "application/json",
            **request.headers,
            "authorization": f"Bearer {self.api_key}",
        }


def settings_of(
    *,
    api_key: str | None,
    base_url: str | None,
    timeout: float,
    total_timeout: float,
    retries_max: int,
    clock: Callable[[], float] = time.monotonic,
    chance: Callable[[], float] = random.random,
) -> Settings:
    """Return what was given, completed from the environment. MissingApiKey, or SpellError for what makes no sense."""
    url = (base_url or os.environ.get(URL_VARIABLE) or URL_DEFAULT).rstrip("/")
    if not _is_address(url):
        message = f"base_url or {URL_VARIABLE} is no address of a platform: it should look like {URL_DEFAULT}"
        raise SpellError(message)
    key = (api_key or os.environ.get(KEY_VARIABLE) or "").strip()
    if not key:
        message = f"there is no API key: give api_key=, or set {KEY_VARIABLE} (a key begins with sk_live_ or sk_test_)"
        raise MissingApiKey(message)
    if _SENDABLE.fullmatch(key) is None:
        message = "the API key has characters that no key has: copy it again"
        raise SpellError(message)
    return Settings(
        base_url=url,
        api_key=key,
        session=Session(
            timeout_s=timeout,
            total_timeout_s=total_timeout,
            retries_max=retries_max,
            clock=clock,
            chance=chance,
            new_key=lambda: str(uuid.uuid4()),
        ),
    )


def _is_address(url: str) -> bool:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    extra = parts.query or parts.fragment or parts.userinfo
    port_fits = parts.port is None or 0 < parts.port <= _PORT_MAX
    return parts.scheme in {"http", "https"} and bool(parts.host) and "%" not in parts.host and port_fits and not extra


def changed(
    settings: Settings, *, timeout: float | None, total_timeout: float | None, retries_max: int | None
) -> Settings:
    """Return the settings with what is given in place of what was; None leaves it."""
    given = {"timeout_s": timeout, "total_timeout_s": total_timeout, "retries_max": retries_max}
    session = msgspec.structs.replace(
        settings.session, **{name: value for name, value in given.items() if value is not None}
    )
    return msgspec.structs.replace(settings, session=session)


def _version() -> str:
    try:
        return version("spell-platform")
    except PackageNotFoundError:  # the folder alone, without its distribution
        return "unknown"


USER_AGENT: Final = f"spell-platform/{_version()} python/{platform.python_version()}"
