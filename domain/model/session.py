"""Sessions: a person signed in, in a browser or at a command line. The token is known to its holder alone."""

import base64
import hashlib
import re
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import msgspec

ENTROPY_BYTES: Final = 32
TOKEN_PREFIX: Final = "ss_"  # noqa: S105  # what every token begins with, so that scanners find it
# However often it is used: what was taken from a machine unnoticed ends by itself.
SESSION_DAYS_MAX: Final = 30
# Whoever did not come for a week signs in again; a forgotten browser elsewhere is closed by then.
SESSION_IDLE_DAYS_MAX: Final = 7
# More than anybody has browsers and command lines; the oldest ends when another begins, so that nobody is locked out.
SESSIONS_PER_USER_MAX: Final = 100
# Enough to name any browser; the rest of such a text is advertising, or somebody filling our disks.
USER_AGENT_CHARACTERS_MAX: Final = 300
UNKNOWN_DEVICE: Final = "Unknown device"

SessionKind = Literal["browser", "cli"]

_TOKEN: Final = re.compile(rf"{TOKEN_PREFIX}[A-Za-z0-9_-]{{43}}")
# In this order: nearly every browser claims to be several others.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome without a window"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("python-httpx/", "Python program"),
    ("spell-platform/", "spell"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
)


class OpenedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A new session. `token` is given to its holder once and kept nowhere."""

    token: str
    session_id: UUID
    expires_at: datetime

    def __repr__(self) -> str:
        """Show the public part alone: a repr ends up in logs."""
        return f"OpenedSession(session_id={self.session_id})"


def mint_session(entropy: bytes, now: datetime) -> OpenedSession:
    """Return the session that `entropy`, ENTROPY_BYTES random bytes, stands for.

    Its id follows from the hash of the token, and leads back to neither.
    """
    assert len(entropy) == ENTROPY_BYTES
    token = TOKEN_PREFIX + base64.urlsafe_b64encode(entropy).rstrip(b"=").decode("ascii")
    named = hashlib.sha256(b"session id" + hash_of_token(token)).digest()[:16]
    return OpenedSession(
        token=token,
        session_id=UUID(bytes=named, version=4),
        expires_at=now + timedelta(days=SESSION_DAYS_MAX),
    )


def hash_of_token(token: str) -> bytes:
    """Return what is stored of a token. 256 random bits are guessed at no speed, so a fast hash is enough."""
    return hashlib.sha256(token.encode("ascii")).digest()


def is_token(text: str) -> bool:
    """Tell whether `text` has the form of a session's token."""
    return _TOKEN.fullmatch(text) is not None


def device_of(user_agent: str) -> str:
    """Return a User-Agent in words a person knows, like `Firefox on Linux`.

    It proves nothing: whoever sends it may write what he likes.
    """
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), None)
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), None)
    if browser is None and system is None:
        return UNKNOWN_DEVICE
    return " on ".join(part for part in (browser, system) if part is not None)
