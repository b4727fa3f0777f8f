"""A small GitHub: a page with a few users, the OAuth routes and the two API routes that a login needs.

It keeps state and is as strict as GitHub about who asks, where the browser goes back to, and what is used twice
(docs.github.com, "Authorizing OAuth apps"). As a GitHub Enterprise server its API lies under /api/v3.
"""

import base64
import hashlib
import html
import json
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from local.folder import LocalServerError, make_private_folder
from local.ports import LOOPBACK, kept_port

CODE_S: Final = 600
BODY_BYTES_MAX: Final = 64 * 1024
_STOP_SECONDS_MAX: Final = 10.0
_AUTHORIZE: Final = "/login/oauth/authorize"
_TOKEN: Final = "/login/oauth/access_token"  # noqa: S105  # a path
_API: Final = "/api/v3"
_DOCS: Final = "https://docs.github.com/rest"
_EMAIL_SCOPES: Final = frozenset({"user", "user:email"})
# What GitHub says of each, in its words' order: error, description.
_DENIED: Final = ("access_denied", "The user has denied your application access.")
_WRONG_CLIENT: Final = ("incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect.")
_WRONG_CODE: Final = ("bad_verification_code", "The code passed is incorrect or expired.")
_WRONG_URI: Final = ("redirect_uri_mismatch", "The redirect_uri MUST match the registered callback URL.")

Fields = Mapping[str, str]


class GithubAddress(NamedTuple):
    """A mail address of a user."""

    email: str
    primary: bool
    verified: bool


class GithubUser(NamedTuple):
    """Somebody with an account there."""

    id: int
    login: str
    name: str | None
    addresses: Sequence[GithubAddress]


USERS: Final = (
    GithubUser(1815, "ada", "Ada Lovelace", [GithubAddress("ada@example.com", primary=True, verified=True)]),
    GithubUser(
        1906,
        "grace-hopper",
        "Grace Hopper",
        [
            GithubAddress("grace.private@example.com", primary=False, verified=True),
            GithubAddress("grace@example.com", primary=True, verified=True),
        ],
    ),
    # Says an address that is somebody else's, and has not proved it.
    GithubUser(666, "mallory", None, [GithubAddress("ada@example.com", primary=True, verified=False)]),
)


class _Grant(NamedTuple):
    """What stands behind a code."""

    user: GithubUser
    redirect_uri: str
    scope: str
    challenge: str | None
    until: float


class FakeGithub:
    """The server, on this machine alone, for as long as it is started. One OAuth app is registered with it."""

    def __init__(self, folder: Path, *, callback_url: str, users: Sequence[GithubUser] = USERS) -> None:
        """`folder` keeps the port; it is made when missing. Raises LocalServerError.

        `callback_url` is the app's; it may be changed later, as on GitHub's page.
        """
        make_private_folder(folder)
        self.users: Final = {user.login: user for user in users}
        self.callback_url = callback_url
        self.client_id: Final = f"Iv1.{secrets.token_hex(8)}"
        self.client_secret: Final = secrets.token_hex(20)
        self._port: Final = kept_port(folder / "port")
        self._lock: Final = threading.Lock()
        self._codes: Final[dict[str, _Grant]] = {}
        self._tokens: Final[dict[str, _Grant]] = {}
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def settings(self) -> dict[str, str]:
        """What an api is told to sign people in here."""
        return {
            "GITHUB_BASE_URL": self.url,
            "GITHUB_CLIENT_ID": self.client_id,
            "GITHUB_CLIENT_SECRET": self.client_secret,
            "GITHUB_REDIRECT_URI": self.callback_url,
        }

    def start(self) -> None:
        """Listen. Raises LocalServerError."""
        assert self._server is None, "the stand-in for GitHub is running already"
        try:
            self._server = _Server(self, self._port)
        except OSError as error:
            message = f"The stand-in for GitHub cannot listen ({error.strerror}): stop what took its port, start again."
            raise LocalServerError(message) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="github", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening. Does nothing when it is not started."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(_STOP_SECONDS_MAX)
            self._server = self._thread = None

    def fits(self, redirect_uri: str) -> bool:
        """Tell whether a browser may be sent there: the host of the callback URL, its path or one below it."""
        ours, theirs = urlsplit(self.callback_url), urlsplit(redirect_uri)
        below = theirs.path == ours.path or theirs.path.startswith(f"{ours.path.rstrip('/')}/")
        return (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc) and below and ".." not in theirs.path

    def grant(self, user: GithubUser, asked: Fields) -> str:
        """Return a code for `user`, good for ten minutes and one use."""
        code = secrets.token_hex(10)
        with self._lock:
            self._codes[code] = _Grant(
                user=user,
                redirect_uri=asked.get("redirect_uri") or self.callback_url,
                scope=asked.get("scope", ""),
                challenge=asked.get("code_challenge"),
                until=time.monotonic() + CODE_S,
            )
        return code

    def exchange(self, fields: Fields) -> dict[str, str]:
        """Return the answer to a code: a token, or an error in GitHub's form. A code is gone once it was shown."""
        if fields.get("client_id") != self.client_id or fields.get("client_secret") != self.client_secret:
            return _told(_WRONG_CLIENT)
        with self._lock:
            grant = self._codes.pop(fields.get("code", ""), None)
        if grant is None or grant.until < time.monotonic() or not _proves(fields.get("code_verifier"), grant.challenge):
            return _told(_WRONG_CODE)
        if fields.get("redirect_uri", grant.redirect_uri) != grant.redirect_uri:
            return _told(_WRONG_URI)
        token = f"gho_{secrets.token_urlsafe(27)}"
        with self._lock:
            self._tokens[token] = grant
        return {"access_token": token, "scope": ",".join(grant.scope.split()), "token_type": "bearer"}

    def grant_of(self, authorization: str) -> _Grant | None:
        """Return who a token stands for."""
        way, _, token = authorization.partition(" ")
        with self._lock:
            return self._tokens.get(token.strip()) if way.lower() in {"bearer", "token"} else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, github: FakeGithub, port: int) -> None:
        self.github: Final = github
        super().__init__((LOOPBACK, port), _Request)


class _Request(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]  # made by that server alone
    server_version = "github"
    sys_version = ""

    def do_GET(self) -> None:  # the library's name
        address = urlsplit(self.path)
        if address.path == _AUTHORIZE:
            self._authorize(dict(parse_qsl(address.query, keep_blank_values=True)))
        elif address.path in {f"{_API}/user", f"{_API}/user/emails"}:
            self._tell(address.path)
        else:
            self._json(HTTPStatus.NOT_FOUND, {"message": "Not Found", "documentation_url": _DOCS, "status": "404"})

    def do_POST(self) -> None:  # the library's name
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > BODY_BYTES_MAX:
            self._page(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Too large")
            return
        fields = dict(parse_qsl(self.rfile.read(int(size)).decode("utf-8", "replace"), keep_blank_values=True))
        path = urlsplit(self.path).path
        if path == _TOKEN:
            self._exchange(fields)
        elif path == _AUTHORIZE:
            self._decide(fields)
        else:
            self._page(HTTPStatus.NOT_FOUND, "Not Found")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Say nothing: the terminal belongs to the platform."""

    def _authorize(self, asked: Fields) -> None:
        """Show who could sign in; the app and its callback URL are looked at first, as GitHub does."""
        github = self.server.github
        if asked.get("client_id") != github.client_id:
            self._page(HTTPStatus.NOT_FOUND, "Not Found")
        elif not github.fits(asked.get("redirect_uri") or github.callback_url):
            self._back({"redirect_uri": github.callback_url, "state": asked.get("state", "")}, _told(_WRONG_URI))
        elif "code_challenge" in asked and asked.get("code_challenge_method") != "S256":
            self._page(HTTPStatus.BAD_REQUEST, "code_challenge_method must be S256")
        else:
            hidden = "".join(
                f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
                for name, value in asked.items()
            )
            buttons = "".join(
                f'<p><button name="login" value="{user.login}">Sign in as {user.login}</button></p>'
                for user in github.users.values()
            )
            cancel = '<p><button name="login" value="">Cancel</button></p>'
            form = f'<form method="post" action="{_AUTHORIZE}">{hidden}{buttons}{cancel}</form>'
            self._page(HTTPStatus.OK, "Sign in to the stand-in for GitHub", form)

    def _decide(self, fields: Fields) -> None:
        github = self.server.github
        target = fields.get("redirect_uri") or github.callback_url
        if fields.get("client_id") != github.client_id or not github.fits(target):
            self._page(HTTPStatus.NOT_FOUND, "Not Found")
            return
        user = github.users.get(fields.get("login", ""))
        self._back(fields, _told(_DENIED) if user is None else {"code": github.grant(user, fields)})

    def _back(self, asked: Fields, answer: Fields) -> None:
        """Send the browser back to the app."""
        target = asked.get("redirect_uri") or self.server.github.callback_url
        state = {"state": asked["state"]} if asked.get("state") else {}
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", f"{target}{'&' if '?' in target else '?'}{urlencode({**answer, **state})}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _exchange(self, fields: Fields) -> None:
        answer = self.server.github.exchange(fields)
        if "application/json" in self.headers.get("Accept", ""):
            self._json(HTTPStatus.OK, answer)
        else:
            self._send(HTTPStatus.OK, "application/x-www-form-urlencoded", urlencode(answer).encode())

    def _tell(self, path: str) -> None:
        grant = self.server.github.grant_of(self.headers.get("Authorization", ""))
        if not self.headers.get("User-Agent"):
            self._json(HTTPStatus.FORBIDDEN, {"message": "Request forbidden by administrative rules."})
        elif grant is None:
            self._json(
                HTTPStatus.UNAUTHORIZED, {"message": "Bad credentials", "documentation_url": _DOCS, "status": "401"}
            )
        elif path.endswith("/emails"):
            if _EMAIL_SCOPES.isdisjoint(grant.scope.split()):
                self._json(HTTPStatus.NOT_FOUND, {"message": "Not Found", "documentation_url": _DOCS, "status": "404"})
            else:
                self._json(HTTPStatus.OK, [{**each._asdict(), "visibility": None} for each in grant.user.addresses])
        else:
            user = grant.user
            self._json(HTTPStatus.OK, {"id": user.id, "login": user.login, "name": user.name, "type": "User"})

    def _page(self, status: HTTPStatus, title: str, content: str = "") -> None:
        text = (
            '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>{html.escape(title)}</title><h1>{html.escape(title)}</h1>{content}"
        )
        self._send(status, "text/html", text.encode())

    def _json(self, status: HTTPStatus, value: object) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        self.end_headers()
        self.wfile.write(body)


def _told(fault: tuple[str, str]) -> dict[str, str]:
    error, description = fault
    return {"error": error, "error_description": description, "error_uri": f"https://docs.github.com/#{error}"}


def _proves(verifier: str | None, challenge: str | None) -> bool:
    """Tell whether the PKCE verifier is that of the challenge (RFC 7636, 4.6); without a challenge none is needed."""
    if challenge is None:
        return True
    digest = hashlib.sha256((verifier or "").encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == challenge
