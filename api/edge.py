"""The outermost layer: gives each request an id, its answer the standing headers, the log a line, the metrics a count.

It is plain ASGI around Litestar, because a middleware stack would cost a cast more than its share of Postgres.
"""

import itertools
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from operator import itemgetter
from typing import Any, Final

from api.access_log import Log, RequestLine
from api.call import Call
from api.errors import Headers
from api.operator.metrics import Metrics
from api.protocol import WHOLE_ANSWER

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# A caller's own request id is echoed and logged: nothing that could end a line or a header gets there.
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500
_name: Final = itemgetter(0)


class Shortcut:
    """ASGI application that serves `paths` itself and leaves everything else to `app`.

    The routes of casts stand in Litestar too, for its documents and for other spellings of their paths; finding them
    there, under its error handling, costs a cast as much as its log line, its metrics and its headers.
    """

    def __init__(self, app: App, paths: Mapping[str, App]) -> None:
        self._app = app
        self._paths = paths

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request or lifespan. It only passes on what is awaited: one coroutine less for each cast."""
        app = self._paths.get(scope["path"], self._app) if scope["type"] == "http" else self._app
        return app(scope, receive, send)


class Edge:
    """ASGI application around `app`. `clock` counts seconds; `process` is a random name that makes ids unique.

    `standing` are the headers of every answer that does not set them itself.
    """

    def __init__(
        self, app: App, *, log: Log, metrics: Metrics, clock: Callable[[], float], process: str, standing: Headers
    ) -> None:
        self._app = app
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._process = process
        self._standing = standing
        self._standing_names = frozenset(name for name, _ in standing)
        self._standing_lines = b"".join(b"\r\n%b: %b" % header for header in standing)
        self._numbers = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; lifespan events pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        call = Call(
            headers,
            method=scope["method"],
            client=scope["client"],
            request_id=self._request_id(headers),
            started=self._clock(),
        )
        call.attach(scope)
        takes_lines = WHOLE_ANSWER in scope.get("extensions", ())

        def send_with_headers(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                call.status = message["status"]
                self._add_headers(call, message, takes_lines=takes_lines)
            return send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            self._note(scope, call)

    def _request_id(self, headers: dict[bytes, bytes]) -> str:
        given = headers.get(b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given.decode("ascii")
        return f"{self._process}-{next(self._numbers):x}"

    def _add_headers(self, call: Call, message: Message, *, takes_lines: bool) -> None:
        headers = [*message["headers"], *call.answer_headers]
        own = self._standing_names.intersection(map(_name, headers)) if headers else None
        request_id = call.request_id.encode("ascii")
        lines = b"%b%b%b\r\nx-request-id: %b" % (message.pop("lines", b""), call.lines, call.budget, request_id)
        if own:
            headers += [header for header in self._standing if header[0] not in own]
        else:
            lines += self._standing_lines
        if takes_lines:
            message["lines"] = lines
        else:
            headers += headers_of(lines)
        message["headers"] = headers

    def _note(self, scope: Scope, call: Call) -> None:
        status = call.status or _SERVER_ERROR
        self._metrics.answered(scope["method"], status)
        if status == _TOO_MANY:
            self._metrics.limited(call.limited_by or call.error)
        if not self._log.requests_shown and status < _SERVER_ERROR:
            return
        principal = call.principal
        self._log.add(
            RequestLine(
                self._log.now,
                "error" if status >= _SERVER_ERROR and call.error in {None, "internal_error"} else "info",
                "request",
                scope["method"],
                scope["path"],
                status,
                int((self._clock() - call.started) * 1_000_000),
                call.request_id,
                None if principal is None else principal.account_id,
                None if principal is None else principal.key_id,
                call.cast_ids,
                call.error,
            )
        )


def headers_of(lines: bytes) -> Headers:
    """Return what is written in `lines` as ASGI has it."""
    parts = [line.partition(b": ") for line in lines.split(b"\r\n")[1:]]
    return [(name, value) for name, _, value in parts]
