"""GET /v1/casts and everything under /v1/casts/{id}: read, wait, follow, cancel."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl
from uuid import UUID, uuid4

import msgspec
from litestar import MediaType, Request, Response, get, post
from litestar.response import Stream
from redis.exceptions import RedisError

from api.access import needs
from api.auth import Principal
from api.call import call_of
from api.casts.prefer import wish_of
from api.errors import Answer, invalid, overloaded
from api.listing import LIMIT_DEFAULT, LIMIT_MAX, cursor_of, link_headers, parse_cursor
from api.modes import seen_mode
from api.services import Services
from domain.flow.cancel import cancel
from domain.model.cast_view import CastRow, CastView
from domain.model.errors import Code, Fault, RefusedError, refuse
from domain.model.key_rules import KeyScope
from domain.model.messages import Pool
from domain.model.modes import Mode
from domain.store.casts import FIRST_ID, LAST_ID, casts_list
from domain.store.connection import account_transaction, transaction
from domain.store.identity import key_by_prefix
from domain.store.spells import spell_get
from workers.broker.wire import put, request_cancel

_logger: Final = logging.getLogger(__name__)

SIGNAL_TIMEOUT_S: Final = 1.0
STATUSES: Final = ("queued", "running", "succeeded", "failed", "canceled", "expired")
# A stream holds a socket and a little memory for as long as its cast runs.
STREAMS_MAX: Final = 2_000
# Proxies close a silent connection after a minute at the earliest.
HEARTBEAT_S: Final = 15.0
RETRY_MS: Final = 1_000
_READ: Final = needs(KeyScope.CASTS_READ, test_keys=True)
_WRITE: Final = needs(KeyScope.CASTS_WRITE, test_keys=True)
_encode: Final = msgspec.json.Encoder().encode


class _Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a list of casts may be asked for."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT
    cursor: str | None = None
    status: str | None = None
    spell: str | None = None
    key: str | None = None
    mode: Mode | None = None
    """`live` where nothing is said; of a test key always `test`."""
    created_after: datetime | None = None
    created_before: datetime | None = None


class CastPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of casts, newest first."""

    data: list[CastView]
    next_cursor: str | None
    has_more: bool


async def list_casts(services: Services, principal: Principal, path: str, query_string: bytes) -> Answer:
    """Return a page of the principal's casts. RefusedError (422) names a filter that does not fit."""
    query = _query_of(query_string)
    rows = await _page(services, principal, query)
    page, following = rows[: query.limit], None
    if len(rows) > query.limit:
        following = cursor_of(page[-1].accepted_at, page[-1].id)
    views = await services.casts.views(page, listed=True)
    body = _encode(CastPage(data=views, next_cursor=following, has_more=following is not None))
    filters: dict[str, str | int | None] = dict(parse_qsl(query_string.decode("ascii", "replace")))
    link = link_headers(path, filters, following)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += [(name.encode("ascii"), value.encode("latin-1")) for name, value in link.items()]
    return Answer(200, headers, body)


def _query_of(query_string: bytes) -> _Query:
    pairs = dict(parse_qsl(query_string.decode("ascii", "replace"), keep_blank_values=True))
    try:
        query = msgspec.convert(pairs, _Query, strict=False)
    except msgspec.ValidationError as error:
        raise RefusedError(invalid([_query_fault("query", str(error))])) from error
    if query.status is not None and query.status not in STATUSES:
        raise RefusedError(invalid([_query_fault("status", f"it is none of {', '.join(STATUSES)}")]))
    for name, instant in (("created_after", query.created_after), ("created_before", query.created_before)):
        if instant is not None and instant.tzinfo is None:
            raise RefusedError(invalid([_query_fault(name, "it has no time zone; write it like 2026-11-20T10:00:00Z")]))
    return query


def _query_fault(location: str, message: str) -> Fault:
    known = ", ".join(_Query.__struct_fields__)
    return Fault(location=location, message=message, fix=f"Use {known}; limit is 1 to {LIMIT_MAX}.")


async def _page(services: Services, principal: Principal, query: _Query) -> list[CastRow]:
    cursor = parse_cursor(query.cursor)
    before = LAST_ID if query.created_before is None else _first_id_of(query.created_before)
    after = FIRST_ID if query.created_after is None else _first_id_of(query.created_after)
    spell_id = None
    if query.spell is not None:
        owner, _, name = query.spell.partition("/")
        async with transaction(services.engine_pool) as connection:
            spell = await spell_get(connection, owner=owner, name=name)
        if spell is None:
            return []
        spell_id = spell.id
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        key_id = None
        if query.key is not None:
            key = await key_by_prefix(connection, account_id=principal.account_id, prefix=query.key)
            if key is None:
                return []
            key_id = key.id
        return await casts_list(
            connection,
            account_id=principal.account_id,
            status=query.status,
            spell_id=spell_id,
            key_id=key_id,
            mode=seen_mode(principal, query.mode),
            before=before if cursor is None else min(before, cursor[1]),
            after=after,
            limit=query.limit + 1,
        )


def _first_id_of(instant: datetime) -> UUID:
    millisecond = max(0, int(instant.timestamp() * 1000))
    return UUID(int=millisecond << 80)


@get("/v1/casts/{cast_id:uuid}", tags=["casts"], access=_READ)
async def get_cast(
    request: Request[Any, Any, Any], services: Services, principal: Principal, cast_id: UUID
) -> Response[CastView]:
    """Return a cast as it is now; with `Prefer: wait=n` as soon as it has ended, or after n seconds."""
    call = call_of(request.scope)
    call.cast_ids = (cast_id,)
    wish = wish_of(call.headers.get(b"prefer"), 0)
    headers = {} if wish.applied is None else {"preference-applied": wish.applied.decode("ascii")}
    waiter = services.waiting.register(cast_id) if wish.wait_s > 0 else None
    try:
        row = await services.casts.row(cast_id, principal)
        if waiter is not None and not row.is_final:
            row = await waiter.row(wish.wait_s) or row
    finally:
        if waiter is not None:
            services.waiting.forget(waiter)
    return Response((await services.casts.views([row]))[0], headers=headers)


@get("/v1/casts/{cast_id:uuid}/log", tags=["casts"], media_type=MediaType.TEXT, access=_READ)
async def get_log(services: Services, principal: Principal, cast_id: UUID) -> Response[bytes]:
    """Return what the guest wrote on stderr, as the bytes it wrote."""
    row = await services.casts.row(cast_id, principal)
    if row.data_expired:
        raise refuse(Code.NOT_FOUND, f"The log of this cast was kept until {row.data_expires_at:%Y-%m-%d %H:%M} UTC.")
    # A guest writes what it likes: never let a browser take it for a page.
    headers = {"content-security-policy": "sandbox", "x-content-type-options": "nosniff"}
    return Response(row.log or b"", media_type=MediaType.TEXT, headers=headers)


@post("/v1/casts/{cast_id:uuid}/cancel", tags=["casts"], status_code=200, access=_WRITE)
async def cancel_cast(
    request: Request[Any, Any, Any], services: Services, principal: Principal, cast_id: UUID
) -> CastView:
    """Cancel a cast: free when it has not started; a running one is stopped and pays for what it used."""
    call_of(request.scope).cast_ids = (cast_id,)
    await services.casts.row(cast_id, principal)
    token_key = services.settings.cast_token_key.reveal()
    async with transaction(services.engine_pool) as connection:
        done = await cancel(connection, principal.account_id, [cast_id], batch_id=uuid4(), token_key=token_key)
    services.waiting.wake(b"".join(canceled.bytes for canceled in done.canceled))
    try:
        async with asyncio.timeout(SIGNAL_TIMEOUT_S):
            for pool in Pool:
                await request_cancel(services.redis, pool, [told for where, told in done.signals if where is pool])
                await put(services.redis, pool, [job for where, job in done.freed if where is pool])
    except (RedisError, OSError) as error:  # committed all the same: the scheduler's resend brings both to Redis
        services.metrics.redis_errors.inc()
        _logger.warning("a cancel reaches the workers late: %r", error)
    return (await services.casts.views([await services.casts.row(cast_id, principal)]))[0]


@get(
    "/v1/casts/{cast_id:uuid}/events",
    tags=["casts"],
    media_type="text/event-stream",
    access=_READ,
)
async def follow_cast(
    request: Request[Any, Any, Any], services: Services, principal: Principal, cast_id: UUID
) -> Stream:
    """Stream the cast as Server-Sent Events: one event per status, named after it, ending with a final one."""
    call_of(request.scope).cast_ids = (cast_id,)
    if services.waiting.streams >= STREAMS_MAX:
        raise RefusedError(overloaded("Too many streams are open. Poll the cast instead."))
    row = await services.casts.row(cast_id, principal)
    events = _events(services, row)
    return Stream(
        events, media_type="text/event-stream", headers={"cache-control": "no-cache", "x-accel-buffering": "no"}
    )


async def _events(services: Services, row: CastRow) -> AsyncGenerator[bytes]:
    """Yield an event now and whenever the status changes; a comment keeps the connection open in between."""
    yield b"retry: %d\n\n" % RETRY_MS
    with services.waiting.stream():
        while True:
            waiter = services.waiting.register(row.id, seen=row.status)
            try:
                view = (await services.casts.views([row]))[0]
                yield b"event: %b\nid: %b\ndata: %b\n\n" % (row.status.encode(), row.status.encode(), _encode(view))
                if row.is_final:
                    return
                while (changed := await waiter.row(HEARTBEAT_S)) is None:
                    if services.shutdown.started:
                        return  # the client comes back after RETRY_MS, to a process that serves
                    yield b": still running\n\n"
                row = changed
            finally:
                services.waiting.forget(waiter)


ROUTES: Final = [get_cast, get_log, cancel_cast, follow_cast]
