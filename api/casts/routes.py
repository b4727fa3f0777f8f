"""POST /v1/cast, POST /v1/casts, GET /v1/casts: raw ASGI, because a framework's layers cost more than the work here.

Authenticate, decode, resolve, admit, render: each once, with no I/O of its own but the batch's.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, NoReturn
from uuid import UUID

import msgspec
from litestar.handlers import ASGIRouteHandler
from litestar.handlers import asgi as raw_handler

from api.access import Access, needs
from api.admission.waiting import Waiter
from api.auth import Principal
from api.call import Call, call_of
from api.casts.batch import cast_many
from api.casts.prefer import Wish, wish_of
from api.casts.quotes import resolve_cast
from api.casts.reading import list_casts
from api.casts.request import BODY_BYTES_MAX, parse_cast, spec_of
from api.edge import App, Message, Receive, Scope
from api.errors import KINDS, Answer, invalid, problem
from api.guard import admit_request, authenticate, caller_of, count_late, note_allowance
from api.protocol import WHOLE_ANSWER
from api.services import Services
from api.spells.catalog import ResolvedSpell
from api.trouble import refusal_of
from domain.model.admission import Accepted, AdmissionRequest, Judged, Replayed, Verdict
from domain.model.advice import CastWarning
from domain.model.cast_view import CastView, VersionName, accepted_json, accepted_shape, view_of_accepted, warned
from domain.model.errors import Code, Fault, Refusal, RefusedError, refuse
from domain.model.ids import text_of
from domain.model.key_rules import KeyScope
from domain.model.webhook_url import parse_networks

# What POST /v1/cast waits for a result when the caller says nothing.
WAIT_S_DEFAULT: Final = 10
IDEMPOTENCY_KEY_CHARACTERS_MAX: Final = 255
_JSON: Final = b"application/json"
_IDEMPOTENCY_KEY: Final = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_TRACEPARENT: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_encode: Final = msgspec.json.Encoder().encode

Serve = Callable[[Call, Principal, Scope, Receive], Awaitable[Answer]]
Methods = dict[str, tuple[Access, Serve]]


class CastEndpoints:
    """The raw handlers."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._public_url = services.settings.public_url
        self._private_allowed = parse_networks(services.settings.webhook_allow_private)
        self._named: dict[int, tuple[VersionName, bytes]] = {}
        """What versions are called, and the shape of their casts; by the numbers of their ids."""

    def paths(self) -> dict[str, App]:
        """Return the applications by their paths; `/v1/cast` waits for the result by default."""
        return {
            "/v1/cast": partial(self._serve, {"POST": (_WRITE, self._waited)}),
            "/v1/casts": partial(self._serve, {"POST": (_WRITE, self._at_once), "GET": (_READ, self._list)}),
            "/v1/casts/batch": partial(self._serve, {"POST": (_WRITE, self._many)}),
        }

    async def _serve(self, methods: Methods, scope: Any, receive: Any, send: Any) -> None:
        call = call_of(scope)
        started = self._services.clock()
        try:
            method = methods.get(scope["method"])
            if method is None:
                call.answer_headers.append((b"allow", ", ".join(methods).encode("ascii")))
                _refuse_method(scope["method"], methods)
            access, serve = method
            principal = await authenticate(self._services, call, asked_again=True)
            access.check(principal)
            answer = await serve(call, principal, scope, receive)
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets a problem
            answer = await self._refused(call, scope, refusal_of(error))
        if scope["method"] == "POST":
            self._services.metrics.cast_seconds.observe(self._services.clock() - started)
        start: Message = {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        start["lines"] = answer.lines
        if WHOLE_ANSWER in scope.get("extensions", ()):
            start["body"] = answer.body
            await send(start)
            return
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})

    def _waited(self, call: Call, principal: Principal, scope: Scope, receive: Receive) -> Awaitable[Answer]:
        return self._create(call, principal, scope, receive, WAIT_S_DEFAULT)

    def _at_once(self, call: Call, principal: Principal, scope: Scope, receive: Receive) -> Awaitable[Answer]:
        return self._create(call, principal, scope, receive, 0)

    async def _many(self, call: Call, principal: Principal, scope: Scope, receive: Receive) -> Answer:
        idempotency_key = idempotency_key_of(call.headers.get(b"idempotency-key"))
        body = await read_json(call.headers, receive)
        return await cast_many(
            self._services,
            call,
            principal,
            body=body,
            idempotency_key=idempotency_key,
            request_hash=b"" if idempotency_key is None else request_hash(scope, body),
            traceparent=traceparent_of(call.headers.get(b"traceparent")),
            path=scope["path"],
        )

    async def _list(self, call: Call, principal: Principal, scope: Scope, receive: Receive) -> Answer:
        del receive
        await admit_request(self._services, call, caller_of(principal))
        return await list_casts(self._services, principal, scope["path"], scope["query_string"])

    async def _create(
        self, call: Call, principal: Principal, scope: Scope, receive: Receive, wait_s_default: int
    ) -> Answer:
        services = self._services
        headers = call.headers
        wish = wish_of(headers.get(b"prefer"), wait_s_default)
        idempotency_key = idempotency_key_of(headers.get(b"idempotency-key"))
        raw = await read_json(headers, receive)
        body = parse_cast(raw)
        spell, quote = await resolve_cast(services, body, principal)
        traceparent = traceparent_of(headers.get(b"traceparent"))
        spec = spec_of(body, spell, traceparent, private_allowed=self._private_allowed, quote=quote)
        request = AdmissionRequest(
            account_id=principal.account_id,
            key_id=principal.key_id,
            key_prefix=principal.key_prefix,
            session_id=principal.session_id,
            casts=(spec,),
            idempotency_key=idempotency_key,
            request_hash=b"" if idempotency_key is None else request_hash(scope, raw),
        )
        caller = caller_of(principal)
        admitted = await services.batcher.submit(request, caller, waits=wish.wait_s > 0)
        note_allowance(call, caller, admitted.allowance)
        if wish.applied is not None:
            call.answer_headers.append((b"preference-applied", wish.applied))
        verdict = admitted.verdict
        if isinstance(verdict, Replayed):
            return _shown(*await self._replay(call, principal, verdict.cast_ids[0], wish), spell.warnings)
        accepted = _accepted(verdict)
        call.cast_ids = (accepted.cast_id,)
        self._note_standing(call, principal, accepted)
        if admitted.waiter is not None and (view := await self._result(admitted.waiter, wish.wait_s)) is not None:
            return _shown(200, view, spell.warnings)
        return self._shown_at_once(accepted, spell)

    def _shown_at_once(self, accepted: Accepted, spell: ResolvedSpell) -> Answer:
        casts_url = self._services.casts.casts_url
        name, shape = self._named.get(spell.version_id.int) or self._name(spell)
        if spell.warnings:
            return _shown(202, view_of_accepted(accepted, name, casts_url=casts_url), spell.warnings)
        location = f"{casts_url}/{text_of(accepted.cast_id)}".encode("ascii")
        return Answer(202, [], accepted_json(shape, accepted), _HEADERS % location)

    def _name(self, spell: ResolvedSpell) -> tuple[VersionName, bytes]:
        name = VersionName(
            spell=f"{spell.owner}/{spell.name}",
            version=spell.version,
            digest=spell.digest,
            output_encoding=spell.output_encoding,
        )
        if len(self._named) > _NAMES_MAX:
            self._named.clear()
        reader = self._services.casts
        named = self._named[spell.version_id.int] = name, accepted_shape(name, casts_url=reader.casts_url)
        reader.learn(spell.version_id, name)
        return named

    async def _replay(self, call: Call, principal: Principal, cast_id: UUID, wish: Wish) -> tuple[int, CastView]:
        """Answer with the cast of before, as it is now, waiting for it as the first request did."""
        reader = self._services.casts
        call.cast_ids = (cast_id,)
        call.answer_headers.append((b"idempotent-replayed", b"true"))
        waiter = self._services.waiting.register(cast_id) if wish.wait_s > 0 else None
        row = await reader.row(cast_id, principal)
        if waiter is not None:
            if row.is_final:
                self._services.waiting.forget(waiter)
            elif (view := await self._result(waiter, wish.wait_s)) is not None:
                return 200, view
        return 200 if row.is_final else 202, (await reader.views([row]))[0]

    async def _result(self, waiter: Waiter, wait_s: int) -> CastView | None:
        try:
            row = await waiter.row(wait_s)
        finally:
            self._services.waiting.forget(waiter)
        return None if row is None else (await self._services.casts.views([row]))[0]

    def _note_standing(self, call: Call, principal: Principal, accepted: Accepted) -> None:
        call.lines += b"\r\nopen-casts: %d\r\nopen-casts-limit: %d" % (accepted.open_casts, accepted.open_casts_max)
        board = self._services.budget_board
        call.budget = b"" if accepted.budget is None else board.note(principal.budgeted_id, accepted.budget)

    async def _refused(self, call: Call, scope: Scope, refusal: Refusal) -> Answer:
        """Render a refusal. One that admission has not counted yet is taken from its caller's rate here."""
        if not call.counted and KINDS[refusal.code].status < _SERVER_ERROR:
            try:
                await count_late(self._services, call, refusal.code)
            except RefusedError as error:
                refusal = error.refusal
        call.error = refusal.code
        metrics = self._services.metrics
        if scope["method"] == "POST":
            metrics.casts_failed.labels(refusal.code).inc()
        # No budget blocked what no money was asked for.
        if KINDS[refusal.code].status == _PAYMENT_REQUIRED and refusal.code is not Code.TEST_ALLOWANCE_EXHAUSTED:
            metrics.budget_blocked.inc()
        if refusal.limit is not None and call.principal is not None:
            call.budget = self._services.budget_board.note(call.principal.budgeted_id, refusal.limit)
        return problem(refusal, request_id=call.request_id, instance=scope["path"], public_url=self._public_url)


_SERVER_ERROR: Final = 500
_PAYMENT_REQUIRED: Final = 402
_WRITE: Final = needs(KeyScope.CASTS_WRITE, test_keys=True)
_READ: Final = needs(KeyScope.CASTS_READ, test_keys=True)
_NAMES_MAX: Final = 10_000
# The server adds how long the body is.
_HEADERS: Final = b"\r\ncontent-type: application/json\r\nlocation: %b"


def _accepted(verdict: Verdict) -> Accepted:
    if isinstance(verdict, Judged):
        (result,) = verdict.results
        if isinstance(result, Accepted):
            return result
        raise RefusedError(result)
    assert isinstance(verdict, Refusal)
    raise RefusedError(verdict)


def _shown(status: int, view: CastView, warnings: tuple[CastWarning, ...]) -> Answer:
    return Answer(status, [], _encode(warned(view, warnings)), _HEADERS % view.urls.self.encode("ascii"))


def _refuse_method(method: str, methods: Methods) -> NoReturn:
    raise refuse(Code.METHOD_NOT_ALLOWED, f"{method} is not offered here. Use {' or '.join(methods)}.")


async def read_json(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    """Return the whole body. RefusedError: 415 when it is not said to be JSON, 413 before or while it is too long."""
    media_type = headers.get(b"content-type")
    if media_type is not None and media_type != _JSON and media_type.split(b";", 1)[0].strip().lower() != _JSON:
        raise refuse(Code.UNSUPPORTED_MEDIA_TYPE, "The body must be JSON. Set Content-Type: application/json.")
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > BODY_BYTES_MAX:
        _refuse_length()
    message = await receive()
    if not message.get("more_body", False):
        return _body_of(message)
    pieces = [_body_of(message)]
    size_bytes = len(pieces[0])
    while message.get("more_body", False):
        message = await receive()
        pieces.append(_body_of(message))
        size_bytes += len(pieces[-1])
        if size_bytes > BODY_BYTES_MAX:
            _refuse_length()
    return b"".join(pieces)


def _body_of(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise refuse(Code.MALFORMED, "The connection was closed before the body was complete.")
    body: bytes = message.get("body", b"")
    return body


def _refuse_length() -> NoReturn:
    raise refuse(Code.PAYLOAD_TOO_LARGE, f"The body is longer than {BODY_BYTES_MAX} bytes. Send a shorter input.")


def idempotency_key_of(raw: bytes | None) -> str | None:
    """Return the caller's key. RefusedError (422) when it is too long, empty, or not plain ASCII."""
    if raw is None:
        return None
    if len(raw) > IDEMPOTENCY_KEY_CHARACTERS_MAX or _IDEMPOTENCY_KEY.fullmatch(raw) is None:
        fault = Fault(
            location="Idempotency-Key",
            message=f"it is not 1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} visible ASCII characters",
            fix="Send a random UUID, the same one for each retry of one request.",
        )
        raise RefusedError(invalid([fault]))
    return raw.decode("ascii")


def request_hash(scope: Scope, body: bytes) -> bytes:
    """Return what tells one request from another under the same idempotency key."""
    head = f"{scope['method']} {scope['path']}\n".encode()
    return hashlib.sha256(head + body).digest()


def traceparent_of(raw: bytes | None) -> str | None:
    """Return a W3C traceparent that may travel with the cast; anything else is dropped, as the standard asks."""
    return raw.decode("ascii") if raw is not None and _TRACEPARENT.fullmatch(raw) is not None else None


def paths(services: Services) -> dict[str, App]:
    """Return the raw ASGI applications by their paths; `api.casts.openapi` describes them."""
    return CastEndpoints(services).paths()


def routes(services: Services) -> list[ASGIRouteHandler]:
    """Return the same as routes of Litestar."""
    return [raw_handler(path, copy_scope=False)(serve) for path, serve in paths(services).items()]
