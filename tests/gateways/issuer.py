"""An OpenID issuer that lies on demand: discovery, keys, a token endpoint and userinfo, over real HTTP."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, RSAKey

CLIENT_ID = "spell"
CLIENT_SECRET = "a client secret of enough length to sign with"


class Issuer:
    """`claims`, `header`, `key` and the answers may be changed before a login; `asked` counts requests by path."""

    def __init__(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.asked: list[str] = []
        self.sent: dict[str, str] = {}
        self.authorization = ""
        self.keys: list[Key] = [RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}, auto_kid=False)]
        self.key: Key = self.keys[0]
        self.algorithm = "RS256"
        self.kid: str | None = "one"
        self.nonce = ""
        self.change: Callable[[dict[str, Any]], Mapping[str, Any]] = lambda claims: claims
        self.discovery: dict[str, Any] = {}
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.userinfo: dict[str, Any] = {}
        self.id_token: str | None = None

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def claims(self) -> dict[str, Any]:
        now_s = int(time.time())
        return {
            "iss": self.url,
            "sub": "person-1",
            "aud": CLIENT_ID,
            "exp": now_s + 300,
            "iat": now_s,
            "nonce": self.nonce,
            "email": "ada@example.com",
            "email_verified": True,
            "name": "Ada",
            "preferred_username": "ada",
        }

    def token(self) -> str:
        if self.id_token is not None:
            return self.id_token
        header = {"alg": self.algorithm, **({} if self.kid is None else {"kid": self.kid})}
        return jwt.encode(header, dict(self.change(self.claims())), self.key, algorithms=[self.algorithm])

    def answer(self, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]
        value: Any = {
            "/.well-known/openid-configuration": {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "userinfo_endpoint": f"{self.url}/userinfo",
                **self.discovery,
            },
            "/keys": {"keys": [key.as_dict(private=isinstance(key, OctKey)) for key in self.keys]},
            "/userinfo": self.userinfo,
        }.get(path)
        if path == "/token":
            value = {"access_token": "at", "token_type": "Bearer", "id_token": self.token()}
        return (404, b"{}") if value is None else (200, json.dumps(value).encode())


def rsa(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}, auto_kid=False)


def elliptic(kid: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid}, auto_kid=False)


def symmetric() -> OctKey:
    return OctKey.import_key(CLIENT_SECRET, {"kid": "shared"})


def _handler(issuer: Issuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            issuer.sent = dict(part.split("=", 1) for part in body.split("&"))
            issuer.authorization = self.headers.get("authorization", "")
            self._answer()

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self) -> None:
            status, body = issuer.answer(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
