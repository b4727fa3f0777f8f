"""Which web pages may call (CORS): those of CORS_ORIGINS with any key, and with one key the pages it names.

An answer is opened to a page only when its origin is the operator's or the caller's key allows it. A preflight carries
no key, so it is answered for any origin that some living key allows: it opens nothing by itself, because the request
behind it still needs that very key, and cookies are never let along.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from api.call import Call, call_of
from api.coalesce import Coalesced
from api.edge import App, Message, Receive, Scope, Send
from api.errors import Headers, problem
from api.trouble import refusal_of
from domain.model.errors import Code, refuse
from domain.model.origins import is_origin
from domain.store.connection import Pool, transaction
from domain.store.principals import origins_allowed

# An origin that was added or taken away shows after this long.
FRESH_S: Final = 1.0
ORIGINS_REMEMBERED_MAX: Final = 10_000
ORIGINS_PER_LOOKUP_MAX: Final = 1_000
# A browser asks again after this long, for each page and address.
PREFLIGHT_FRESH_S: Final = 600
_METHODS: Final = b"GET, POST, PUT, PATCH, DELETE"
_HEADERS: Final = b"authorization, content-type, idempotency-key, prefer, x-request-id"
# A page of a permitted origin may read every header the contract names.
_EXPOSED: Final = b", ".join((
    *(b"location", b"link", b"retry-after", b"x-request-id", b"preference-applied", b"idempotent-replayed"),
    *(b"ratelimit", b"ratelimit-policy", b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset"),
    *(b"budget-limit", b"budget-spent", b"budget-held", b"budget-reset", b"open-casts", b"open-casts-limit"),
))  # fmt: skip
_VARY: Final = (b"vary", b"origin")


class KeyOrigins:
    """Tells which origins some living key allows, at most a second late. One question at a time goes to Postgres."""

    def __init__(self, engine_pool: Pool, *, clock: Callable[[], float]) -> None:
        self._pool = engine_pool
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, bool]] = OrderedDict()
        self._asked: Coalesced[str, bool] = Coalesced(self._ask, keys_max=ORIGINS_PER_LOOKUP_MAX)

    async def check(self, origin: str) -> None:
        """Raise RefusedError (403) unless a key allows pages of `origin`; StoreError."""
        if not is_origin(origin) or not await self._allows(origin):
            detail = "Pages of this origin may not call. Add it to the allowed_origins of the key they use."
            raise refuse(Code.FORBIDDEN, detail)

    async def _allows(self, origin: str) -> bool:
        now = self._clock()
        known = self._known.get(origin)
        if known is None or now - known[0] > FRESH_S:
            known = self._known[origin] = (now, bool(await self._asked.get(origin)))
            if len(self._known) > ORIGINS_REMEMBERED_MAX:
                self._known.popitem(last=False)
        return known[1]

    async def _ask(self, origins: list[str]) -> dict[str, bool]:
        async with transaction(self._pool) as connection:
            return dict.fromkeys(await origins_allowed(connection, origins=origins), True)


class Cors:
    """ASGI application around `app`: answers preflights, and opens answers to the pages that may read them.

    `limit` raises RefusedError (429) for preflights that come too often.
    """

    def __init__(
        self,
        app: App,
        *,
        origins: tuple[str, ...],
        key_origins: KeyOrigins,
        limit: Callable[[Call], Awaitable[None]],
        public_url: str,
    ) -> None:
        self._app = app
        self._limit = limit
        self._origins = frozenset(origins)
        self._key_origins = key_origins
        self._public_url = public_url

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request; what no browser's page sent passes through, without a coroutine of ours."""
        call = call_of(scope) if scope["type"] == "http" else None
        origin = None if call is None else call.headers.get(b"origin")
        if call is None or origin is None:
            return self._app(scope, receive, send)
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in call.headers:
            return self._preflight(call, scope, send, origin)
        return self._app(scope, receive, self._opening(call, send, origin))

    def _opening(self, call: Call, send: Send, origin: bytes) -> Send:
        text = origin.decode("latin-1")

        async def send_opened(message: Message) -> None:
            if message["type"] == "http.response.start":
                opened: Headers = [_VARY]
                principal = call.principal  # known by now, where there is one
                if text in self._origins or (principal is not None and text in principal.allowed_origins):
                    opened += [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", _EXPOSED)]
                message["headers"] = [*message["headers"], *opened]
            await send(message)

        return send_opened

    async def _preflight(self, call: Call, scope: Scope, send: Send, origin: bytes) -> None:
        text = origin.decode("latin-1")
        try:
            await self._limit(call)
            if text not in self._origins:
                await self._key_origins.check(text)
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets a problem
            refusal = refusal_of(error)
            call.error = refusal.code
            answer = problem(refusal, request_id=call.request_id, instance=scope["path"], public_url=self._public_url)
            headers = [*answer.headers, _VARY]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": answer.body})
            return
        headers = [
            _VARY,
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _HEADERS),
            (b"access-control-max-age", b"%d" % PREFLIGHT_FRESH_S),
        ]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
