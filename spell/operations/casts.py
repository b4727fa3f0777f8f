"""Casts: make, wait, read, follow, cancel."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from spell.core.exchange import JSON, Plan, Request, Session, Sleep, Steps, query_of
from spell.core.listing import PAGE_SIZE_MAX, Listing, listing
from spell.core.names import cast_path
from spell.core.operation import Operation, decoded, raw
from spell.errors import NotFound, OutcomeUnknown, SpellError, WaitTimedOut
from spell.models.casts import Cast, CastRequest, Limits
from spell.models.receipts import Quote

# Proxies close a connection that is silent for a minute; half of it is safe with every one.
WAIT_STEP_S: Final = 30
# Between two looks at a cast, where something in between does not let an answer wait.
LOOK_PAUSE_S: Final = 0.5

_cast: Final = decoded(Cast)
_HEADERS: Final = {"content-type": JSON, "accept": JSON}


def cast(
    spell: str,
    input: Any = msgspec.UNSET,  # noqa: A002  # the API's own name; any JSON, or bytes
    *,
    limits: Limits | None = None,
    deadline_ms: int | None = None,
    pool: str | None = None,
    max_price_micros: int | None = None,
    webhook_url: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    quote: Quote | str | None = None,
    wait_s: float = 60.0,
    idempotency_key: str | None = None,
) -> Plan[Cast]:
    """Cast a spell and return the cast when it has ended, or as it is after about `wait_s` seconds.

    `spell` is `owner/name`, with `@1`, `@1.2.0` or `@sha256:...` behind it to pin a version. Of `input`, bytes go to
    the spell as they are and anything else as JSON. `max_price_micros` refuses (PriceChanged) a cast that could cost
    more; `quote` holds it at quoted prices (QuoteExpired when its time is over). A cast that failed is returned like
    any other: `cast.result()` raises for it.

    MoneyError when there is no money for it: nothing ran, and it is not tried again. An error after the cast was
    accepted carries it in `accepted`.
    """
    text = quote.quote if isinstance(quote, Quote) else quote
    request = CastRequest(spell, input, limits, deadline_ms, pool, max_price_micros, webhook_url, metadata, text)

    def steps(session: Session) -> Steps[Cast]:
        give_up_at = session.clock() + wait_s
        first_s = math.ceil(max(0.0, min(WAIT_STEP_S, wait_s)))
        accepted = yield from _accepted(_create("/v1/cast", request, first_s, idempotency_key), session)
        return (yield from _until_final(accepted, give_up_at, session))

    return Plan(steps)


def cast_async(
    spell: str,
    input: Any = msgspec.UNSET,  # noqa: A002  # the API's own name; any JSON, or bytes
    *,
    limits: Limits | None = None,
    deadline_ms: int | None = None,
    pool: str | None = None,
    max_price_micros: int | None = None,
    webhook_url: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    quote: Quote | str | None = None,
    idempotency_key: str | None = None,
) -> Plan[Cast]:
    """Cast a spell and return at once, as soon as its money is held: `wait()` or `events()` tell when it has ended.

    Arguments and errors are those of `cast()`.
    """
    text = quote.quote if isinstance(quote, Quote) else quote
    request = CastRequest(spell, input, limits, deadline_ms, pool, max_price_micros, webhook_url, metadata, text)
    return Plan(lambda session: _accepted(_create("/v1/casts", request, 0, idempotency_key), session))


def get(cast: Cast | str) -> Operation[Cast]:
    """Return a cast, given itself or its id, as it is now. NotFound when there is none, or it is not yours."""
    return _look(cast, 0)


def wait(cast: Cast | str, *, timeout_s: float | None = None) -> Plan[Cast]:
    """Return the cast when it has ended; WaitTimedOut when it has not after about `timeout_s` seconds."""

    def steps(session: Session) -> Steps[Cast]:
        give_up_at = math.inf if timeout_s is None else session.clock() + timeout_s
        seen = cast if isinstance(cast, Cast) else (yield from get(cast).steps(session))
        seen = yield from _until_final(seen, give_up_at, session)
        if not seen.is_final:
            raise WaitTimedOut(seen)
        return seen

    return Plan(steps)


def cancel(cast: Cast | str) -> Operation[Cast]:
    """Cancel a cast: free when it has not started; a running one is stopped and pays for what it used."""
    return Operation(request=Request(method="POST", path=f"{cast_path(cast)}/cancel"), decode=_cast)


def log(cast: Cast | str) -> Operation[bytes]:
    """Return what the spell wrote on stderr, as the bytes it wrote."""
    return Operation(request=Request(method="GET", path=f"{cast_path(cast)}/log"), decode=raw)


def list_casts(
    *,
    status: str | None = None,
    spell: str | None = None,
    key: str | None = None,
    mode: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    page_size: int = PAGE_SIZE_MAX,
) -> Listing[Cast]:
    """Return the account's casts, newest first, as an iterator that gets page after page.

    `spell` is `owner/name`, `key` the prefix of an API key; the times need a time zone. `mode="test"` lists the casts
    of test keys instead of the live ones; a test key sees no others.
    """
    query = query_of(
        status=status,
        spell=spell,
        key=key,
        mode=mode,
        created_after=None if created_after is None else created_after.isoformat(),
        created_before=None if created_before is None else created_before.isoformat(),
        limit=page_size,
    )
    return listing("/v1/casts", Cast, query)


def _create(path: str, request: CastRequest, wait_s: int, idempotency_key: str | None) -> Operation[Cast]:
    headers = _HEADERS if path == "/v1/casts" else {**_HEADERS, "prefer": f"wait={wait_s}"}
    return Operation(
        request=Request(method="POST", path=path, headers=headers, body=request.body()),
        decode=_cast,
        creates=True,
        idempotency_key=idempotency_key,
        patience_s=wait_s,
    )


def _look(cast: Cast | str, wait_s: int) -> Operation[Cast]:
    headers = {"prefer": f"wait={wait_s}"} if wait_s else {}
    return Operation(
        request=Request(method="GET", path=cast_path(cast), headers=headers), decode=_cast, patience_s=wait_s
    )


def _accepted(creation: Operation[Cast], session: Session) -> Steps[Cast]:
    """Make the cast. Where nobody knew whether it was made, each retry asked under the same key; last, ask by id."""
    try:
        return (yield from creation.steps(session))
    except OutcomeUnknown as error:
        for cast_id in error.cast_ids:
            try:
                return (yield from get(cast_id).steps(session))
            except NotFound:
                continue
        raise


def _until_final(cast: Cast, give_up_at: float, session: Session) -> Steps[Cast]:
    """Look until the cast has ended or time is up; the platform holds each answer back until there is news."""
    while not cast.is_final and (left_s := give_up_at - session.clock()) > 0:
        asked_at = session.clock()
        try:
            cast = yield from _look(cast, max(1, int(min(left_s, WAIT_STEP_S)))).steps(session)
        except SpellError as error:
            error.accepted = cast
            raise
        if not cast.is_final and session.clock() - asked_at < LOOK_PAUSE_S:
            yield Sleep(seconds=min(LOOK_PAUSE_S, max(0.0, give_up_at - session.clock())))
    return cast
