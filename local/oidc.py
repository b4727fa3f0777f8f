"""An OpenID provider for trying logins: the package `oidc-provider-mock`, where it is installed."""

import importlib.util
import json
import secrets
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from local.folder import make_private_folder
from local.ports import LOOPBACK
from local.process import ServerProcess

_PACKAGE: Final = "oidc_provider_mock"
_CONNECT_SECONDS_MAX: Final = 1.0
USERS: Final[Sequence[Mapping[str, Any]]] = (  # claims, whose values differ by name
    {
        "sub": "ada",
        "email": "ada@example.com",
        "email_verified": True,
        "name": "Ada Lovelace",
        "preferred_username": "ada",
    },
    {"sub": "eve", "email": "ada@example.com", "email_verified": False, "name": "Eve"},
)


def is_installed() -> bool:
    """Tell whether the package is here; what users install does not need it."""
    return importlib.util.find_spec(_PACKAGE) is not None


class OidcMock:
    """The provider, in a process of its own. It knows any client, and forgets everything when it stops."""

    def __init__(self, folder: Path, *, users: Sequence[Mapping[str, Any]] = USERS) -> None:
        """`folder` keeps the port and the log; it is made when missing. Raises LocalServerError."""
        assert is_installed(), "ask is_installed() first"
        make_private_folder(folder)
        self._users: Final = users
        self._secret: Final = secrets.token_hex(16)
        self._process: Final = ServerProcess(
            folder=folder.absolute(), name="oidc", stop_signal=signal.SIGTERM, port_lost="address already in use"
        )

    @property
    def url(self) -> str:
        """Where it is: the issuer."""
        return f"http://{LOOPBACK}:{self._process.port}"

    @property
    def settings(self) -> dict[str, str]:
        """What an api is told to sign people in here."""
        return {"OIDC_ISSUER": self.url, "OIDC_CLIENT_ID": "spell", "OIDC_CLIENT_SECRET": self._secret}

    def start(self, *, wait: bool = True) -> None:
        """Start, and return when it answers; without `wait` at once, as nobody signs in within the first seconds.

        Raises LocalServerError.
        """
        self._process.start(self._command, is_ready=self._answers if wait else lambda: True)

    def stop(self) -> None:
        """Stop in order; does nothing when it is not running."""
        self._process.stop()

    def _command(self, port: int) -> Sequence[str]:
        users = [part for user in self._users for part in ("--user-claims", json.dumps(dict(user)))]
        # -P: a folder of that name where somebody happens to stand is not the package.
        return [sys.executable, "-P", "-m", _PACKAGE, "--host", LOOPBACK, "--port", str(port), *users]

    def _answers(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self._process.port), timeout=_CONNECT_SECONDS_MAX).close()
        except OSError:
            return False
        return True
