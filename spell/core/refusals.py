"""From an answer that is no success to the error that is raised: one table of codes, one of statuses."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from spell import errors
from spell.core.exchange import Reply
from spell.errors import ApiError, BudgetExceeded, BudgetLimit, Fault, MoneyError, Problem

_OF_CODE: Final[Mapping[str, type[ApiError]]] = {
    "insufficient_credits": errors.InsufficientCredits,
    "free_tier_exhausted": errors.FreeTierExhausted,
    "payment_required": errors.PaymentRequired,
    "spend_paused": errors.SpendPaused,
    "test_allowance_exhausted": errors.TestAllowanceExhausted,
    "price_changed": errors.PriceChanged,
    "quote_expired": errors.QuoteExpired,
    "rate_limited": errors.RateLimited,
    "too_many_open_casts": errors.TooManyOpenCasts,
    "outcome_unknown": errors.OutcomeUnknown,
    "idempotency_key_reused": errors.IdempotencyKeyReused,
}
# For codes that this version does not know, and for answers of proxies in between.
_OF_STATUS: Final[Mapping[int, type[ApiError]]] = {
    400: errors.ValidationError,
    401: errors.Unauthorized,
    402: MoneyError,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.ValidationError,
    415: errors.ValidationError,
    422: errors.ValidationError,
    429: errors.RateLimited,
    502: errors.ServerBusy,
    503: errors.ServerBusy,
    504: errors.ServerBusy,
}
# Enough to recognise a proxy's error page by.
_SHOWN_CHARACTERS_MAX: Final = 200


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    """The members every problem has."""

    error: str
    title: str = ""
    detail: str = ""
    request_id: str | None = None
    retryable: bool = False
    errors: tuple[Fault, ...] = ()
    price_micros: int | None = None
    cast_ids: tuple[str, ...] = ()


def error_of(reply: Reply) -> ApiError:
    """Return the error an answer stands for, whoever sent it."""
    after = reply.headers.get("retry-after", "")
    retry_after_s = int(after) if after.isascii() and after.isdigit() else None
    try:
        members = msgspec.json.decode(reply.body, type=dict[str, Any])
        body = msgspec.convert(members, _Body)
    except msgspec.MsgspecError:
        return _foreign(reply, retry_after_s)
    return error_of_members(reply.status, members, body, retry_after_s)


def error_of_problem(status: int, raw: bytes) -> ApiError:
    """Return the error of a problem inside an answer, as a batch has them."""
    return error_of(Reply(status=status, headers={}, body=raw))


def error_of_members(status: int, members: dict[str, Any], body: _Body, retry_after_s: int | None) -> ApiError:
    """Return the error of a problem's members."""
    problem = Problem(
        **msgspec.structs.asdict(body),
        status=status,
        limit=_limit_of(members.get("limit")),
        retry_after_s=retry_after_s,
        members=members,
    )
    if body.error == "budget_exceeded" and problem.limit is not None:
        return BudgetExceeded(problem)
    kind = _OF_CODE.get(body.error) or _OF_STATUS.get(status, ApiError)
    return kind(problem)


def _limit_of(value: object) -> BudgetLimit | None:
    try:
        return None if value is None else msgspec.convert(value, BudgetLimit)
    except msgspec.ValidationError:
        return None


def _foreign(reply: Reply, retry_after_s: int | None) -> ApiError:
    """Return the error of an answer that is no problem of the platform's: a proxy's page, or nothing at all."""
    text = " ".join(reply.body.decode("utf-8", "replace").split())[:_SHOWN_CHARACTERS_MAX]
    problem = Problem(
        status=reply.status,
        error=f"http_{reply.status}",
        detail=text or "the answer has no body",
        request_id=reply.headers.get("x-request-id"),
        retry_after_s=retry_after_s,
    )
    return _OF_STATUS.get(reply.status, ApiError)(problem)
