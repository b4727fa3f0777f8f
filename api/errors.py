"""What a refusal looks like over HTTP: the only table from code to status, and RFC 9457 problems."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from domain.model.errors import Code, Fault, Refusal, Standing
from domain.model.pricing import MICROS_PER_CENT

PROBLEM_TYPE: Final = b"application/problem+json"
# Where an error page lives: the problem's `type` is this address and the code behind it.
ERROR_PAGES: Final = "/docs/errors/"
# A full queue or a database that restarts is normal again within a second or two.
RETRY_AFTER_DEFAULT_S: Final = 1


class Kind(msgspec.Struct, frozen=True):
    """What every answer with one code has in common."""

    status: int
    title: str
    advice: str
    """What the caller can do; also the text of the error's page."""
    retryable: bool = False


KINDS: Final[Mapping[Code, Kind]] = {
    Code.MALFORMED: Kind(400, "Malformed request", "Send a body that is valid JSON in UTF-8."),
    Code.BAD_SIGNATURE: Kind(400, "Signature does not hold", "Sign the body as it is sent, with the secret, now."),
    Code.UNAUTHORIZED: Kind(401, "Not authenticated", "Send `Authorization: Bearer <API key>` with a living key."),
    Code.SPEND_PAUSED: Kind(402, "Spending is paused", "Resume spending on the billing page."),
    Code.BUDGET_EXCEEDED: Kind(402, "Budget exceeded", "Raise the budget named in `limit`, or wait until it resets."),
    Code.INSUFFICIENT_CREDITS: Kind(402, "Not enough credits", "Buy credits, or lower the fuel limit of the cast."),
    Code.FREE_TIER_EXHAUSTED: Kind(402, "Free allowance used up", "Upgrade the plan on the billing page."),
    Code.PAYMENT_REQUIRED: Kind(402, "Payment required", "Check the payment method on the billing page."),
    Code.TEST_ALLOWANCE_EXHAUSTED: Kind(402, "Test allowance used up", "Use a live key, or wait for the next month."),
    Code.FORBIDDEN: Kind(403, "Not permitted", "Use a key with the scope the answer names."),
    Code.NOT_FOUND: Kind(404, "Not found", "Check the address. What belongs to others is not found either."),
    # Not 503: nothing changes by waiting, and every client would try again and again.
    Code.BILLING_OFF: Kind(404, "Billing is off", "Nothing is sold here. The operator turns it on with Stripe's keys."),
    Code.METHOD_NOT_ALLOWED: Kind(405, "Method not allowed", "Use one of the methods in the `Allow` header."),
    Code.CONFLICT: Kind(409, "Conflict", "Read the resource again and decide anew."),
    Code.PRICE_CHANGED: Kind(409, "Price changed", "Look at the new price and raise max_price_micros to accept it."),
    Code.QUOTE_EXPIRED: Kind(409, "Quote expired", "Ask for a new quote, or cast at the prices of now without one."),
    Code.REFUSED_BEFORE: Kind(409, "Refused before", "Send this cast again under a new Idempotency-Key."),
    Code.VERSION_EXISTS: Kind(409, "Version exists", "Versions never change: publish the next version number."),
    Code.PAYLOAD_TOO_LARGE: Kind(413, "Body too large", "Send a smaller body."),
    Code.UNSUPPORTED_MEDIA_TYPE: Kind(415, "Wrong media type", "Set the Content-Type the answer names."),
    Code.VALIDATION: Kind(422, "Does not fit", "Mend each place listed in `errors`."),
    Code.BAD_MODULE: Kind(422, "Not a usable module", "Mend what `errors` says about the module."),
    Code.NOT_AVAILABLE: Kind(422, "Not available", "Leave out what `errors` names."),
    Code.IDEMPOTENCY_KEY_REUSED: Kind(422, "Idempotency-Key reused", "Use a new key for each different request."),
    Code.SPELL_SUSPENDED: Kind(403, "Spell suspended", "The operator suspended this spell; use another."),
    Code.RATE_LIMITED: Kind(429, "Too many requests", "Wait for Retry-After seconds.", retryable=True),
    Code.TOO_MANY_OPEN_CASTS: Kind(429, "Too many open casts", "Wait for some casts to end.", retryable=True),
    # The login of a program that has no browser: RFC 8628, 3.5, has these names and this status.
    Code.AUTHORIZATION_PENDING: Kind(400, "Not confirmed yet", "Ask again after `interval` seconds.", retryable=True),
    Code.SLOW_DOWN: Kind(400, "Asked too often", "Wait five seconds longer between two tries.", retryable=True),
    Code.ACCESS_DENIED: Kind(400, "Turned down", "Begin the login again if it was a mistake."),
    Code.EXPIRED_TOKEN: Kind(400, "Login over", "Begin the login again with `spell login`."),
    Code.INTERNAL: Kind(500, "Internal error", "Try again; report the request_id when it stays.", retryable=True),
    Code.PROVIDER_REFUSED: Kind(502, "Refused by the payment provider", "Tell the operator; `detail` has the reason."),
    Code.PROVIDER_UNAVAILABLE: Kind(
        503,
        "Payment provider unavailable",
        "Try again with the same Idempotency-Key. Casts do not need the payment provider and go on.",
        retryable=True,
    ),
    Code.QUEUE_FULL: Kind(503, "Queue full", "Nothing was held. Try again after Retry-After seconds.", retryable=True),
    Code.OVERLOADED: Kind(503, "Overloaded", "Nothing was held. Try again after Retry-After seconds.", retryable=True),
    Code.OUTCOME_UNKNOWN: Kind(
        503,
        "Outcome unknown",
        "The casts in `cast_ids` may have been accepted: ask for them, or repeat with the same Idempotency-Key.",
        retryable=True,
    ),
}
assert set(KINDS) == set(Code), "every code needs a status"

Headers = list[tuple[bytes, bytes]]


class Answer(msgspec.Struct, frozen=True):
    """A whole HTTP answer."""

    status: int
    headers: Headers
    body: bytes
    lines: bytes = b""
    """More headers, as `api.protocol` takes them."""


class LimitView(msgspec.Struct, frozen=True, kw_only=True):
    """The budget that had no room."""

    id: UUID | None
    scope: str
    scope_id: UUID
    period: str
    limit_micros: int
    spent_micros: int
    held_micros: int
    needed_micros: int
    resets_at: datetime
    raise_url: str


def problem(refusal: Refusal, *, request_id: str, instance: str, public_url: str) -> Answer:
    """Return the RFC 9457 answer to a refused request. `instance` is the path that was asked for."""
    kind = KINDS[refusal.code]
    body: dict[str, Any] = {  # a JSON object, whose members differ by code
        "type": f"{public_url}{ERROR_PAGES}{refusal.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": refusal.detail,
        "instance": instance,
        "error": refusal.code,
        "request_id": request_id,
        "retryable": kind.retryable,
    }
    if refusal.faults:
        body["errors"] = refusal.faults
    if refusal.limit is not None:
        body |= _limit_members(refusal.limit, public_url)
    if refusal.price_micros is not None:
        body["price_micros"] = refusal.price_micros
    if refusal.cast_ids:
        body["cast_ids"] = refusal.cast_ids
    encoded = msgspec.json.encode(body)
    headers = [(b"content-type", PROBLEM_TYPE), (b"content-length", b"%d" % len(encoded))]
    if kind.status in {429, 503}:
        wait_s = RETRY_AFTER_DEFAULT_S if refusal.retry_after_s is None else refusal.retry_after_s
        headers.append((b"retry-after", b"%d" % wait_s))
    if kind.status == 401:  # noqa: PLR2004  # RFC 9110 asks for the header with this very status
        headers.append((b"www-authenticate", b'Bearer realm="spell"'))
    return Answer(kind.status, headers, encoded)


def _limit_members(limit: Standing, public_url: str) -> dict[str, Any]:
    """Return the base products' three fields and the whole budget beside them."""
    return {
        "period": limit.period,
        "limit_cents": limit.limit_micros // MICROS_PER_CENT,
        "current_cents": -(-(limit.spent_micros + limit.held_micros) // MICROS_PER_CENT),
        "limit": LimitView(
            id=limit.limit_id,
            scope=limit.scope,
            scope_id=limit.scope_id,
            period=limit.period,
            limit_micros=limit.limit_micros,
            spent_micros=limit.spent_micros,
            held_micros=limit.held_micros,
            needed_micros=limit.needed_micros,
            resets_at=limit.resets_at,
            raise_url=f"{public_url}/dashboard/billing",
        ),
    }


def invalid(faults: Sequence[Fault]) -> Refusal:
    """Return the 422 of a body that does not fit, each place with how to mend it."""
    places = ", ".join(fault.location for fault in faults)
    return Refusal(code=Code.VALIDATION, detail=f"The request does not fit at: {places}.", faults=tuple(faults))


def overloaded(detail: str, retry_after_s: int = RETRY_AFTER_DEFAULT_S) -> Refusal:
    """Return the 503 of a request that nothing was done for."""
    return Refusal(code=Code.OVERLOADED, detail=detail, retry_after_s=retry_after_s)
