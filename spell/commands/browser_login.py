"""The login in a browser: the program shows a short code, a person confirms it where they are signed in (RFC 8628)."""

import os
import platform
import sys
import time
import webbrowser
from collections.abc import Callable
from typing import Final

import httpx
import msgspec

from spell.core.exchange import Reply, Request
from spell.core.operation import decoded
from spell.core.refusals import error_of
from spell.errors import ApiError
from spell.exits import EXIT_NO, EXIT_NOT_AUTHORISED, CommandError
from spell.settings import TIMEOUT_S_DEFAULT
from spell.transport import broken_of, reply_of, timeout_of

_BEGIN: Final = "/auth/device"
_POLL: Final = "/auth/device/token"
# What RFC 8628 asks of whoever is told to slow down, or gets no answer.
_SLOWER_S: Final = 5
_NAME_CHARACTERS_MAX: Final = 100
_DISPLAYS: Final = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


class DeviceCode(msgspec.Struct, frozen=True, kw_only=True):
    """What the platform gave for one login."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


class CliSession(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    session_token: str


_code: Final = decoded(DeviceCode)
_session: Final = decoded(CliSession)


class BrowserLogin:
    """One login at the platform of `http`'s base URL. `sleep` and `clock` count seconds."""

    def __init__(
        self,
        http: httpx.Client,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._sleep = sleep
        self._clock = clock

    def begin(self) -> DeviceCode:
        """Ask for a code. Raises SpellError."""
        return _code(self._post(_BEGIN, {"device_name": device_name()}))

    def wait(self, code: DeviceCode) -> str:
        """Return the session's token once the code was confirmed. Raises CommandError, SpellError.

        A platform that does not answer meanwhile is asked again until the code is over.
        """
        pause_s = max(code.interval, 1)
        over_at = self._clock() + code.expires_in
        while self._clock() < over_at:
            self._sleep(pause_s)
            try:
                return _session(self._post(_POLL, {"device_code": code.device_code})).session_token
            except ApiError as error:
                if error.code in {"slow_down", "rate_limited"}:
                    pause_s += _SLOWER_S
                elif error.code == "access_denied":
                    raise CommandError(error.detail, exit_code=EXIT_NO) from error
                elif error.code == "expired_token":
                    break
                elif error.code != "authorization_pending" and not error.retryable:
                    raise
            except ConnectionLostError:
                pause_s += _SLOWER_S
        message = "nobody confirmed the code in time: run `spell login` again"
        raise CommandError(message, exit_code=EXIT_NOT_AUTHORISED)

    def _post(self, path: str, body: dict[str, str]) -> Reply:
        try:
            reply = reply_of(self._http.post(path, json=body))
        except httpx.RequestError as error:
            broken = broken_of(error, Request(method="POST", path=path))
            if path == _POLL:
                raise ConnectionLostError from broken.error
            raise broken.error from error
        if not reply.ok:
            raise error_of(reply)
        return reply


class ConnectionLostError(Exception):
    """No answer to a poll."""


def http_client(url: str) -> httpx.Client:
    """Return a client without credentials."""
    return httpx.Client(base_url=url, timeout=timeout_of(TIMEOUT_S_DEFAULT))


def open_browser(url: str) -> bool:
    """Show `url` in a browser of this machine's screen; False where there is none."""
    if sys.platform not in {"darwin", "win32"} and not any(os.environ.get(name) for name in _DISPLAYS):
        return False
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False


def device_name() -> str:
    """Return the name of this machine, which the person who confirms sees."""
    name = "".join(character for character in platform.node() if character.isprintable())
    return name[:_NAME_CHARACTERS_MAX] or "a machine without a name"
