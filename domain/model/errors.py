"""What the platform refuses, as data: a stable code and the fields a caller needs.

HTTP statuses are chosen in `api.errors`.
"""

import enum
from datetime import datetime
from uuid import UUID

import msgspec

from domain.model.periods import Period


class Code(enum.StrEnum):
    """The stable `error` of a problem answer."""

    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    VALIDATION = "validation"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    PRICE_CHANGED = "price_changed"
    QUOTE_EXPIRED = "quote_expired"
    BUDGET_EXCEEDED = "budget_exceeded"
    INSUFFICIENT_CREDITS = "insufficient_credits"
    FREE_TIER_EXHAUSTED = "free_tier_exhausted"
    PAYMENT_REQUIRED = "payment_required"
    TEST_ALLOWANCE_EXHAUSTED = "test_allowance_exhausted"
    SPEND_PAUSED = "spend_paused"
    RATE_LIMITED = "rate_limited"
    TOO_MANY_OPEN_CASTS = "too_many_open_casts"
    QUEUE_FULL = "queue_full"
    OVERLOADED = "overloaded"
    OUTCOME_UNKNOWN = "outcome_unknown"
    REFUSED_BEFORE = "refused_before"
    VERSION_EXISTS = "version_exists"
    BAD_MODULE = "bad_module"
    SPELL_SUSPENDED = "spell_suspended"
    MALFORMED = "malformed"
    BAD_SIGNATURE = "bad_signature"
    BILLING_OFF = "billing_off"
    PROVIDER_REFUSED = "provider_refused"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    NOT_AVAILABLE = "not_available"
    AUTHORIZATION_PENDING = "authorization_pending"
    SLOW_DOWN = "slow_down"
    ACCESS_DENIED = "access_denied"
    EXPIRED_TOKEN = "expired_token"  # noqa: S105  # a name of RFC 8628, like the three above
    INTERNAL = "internal_error"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A budget as it stands, with all a caller needs to see why it had no room.

    `limit_id` None is the platform's default limit; `needed_micros` is 0 where nothing was asked of it.
    """

    limit_id: UUID | None
    scope: str
    scope_id: UUID
    period: Period
    limit_micros: int
    spent_micros: int
    held_micros: int
    needed_micros: int
    resets_at: datetime


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One place in the input that is wrong, and how to mend it."""

    location: str
    message: str
    fix: str


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was not done. Nothing was held, written or charged."""

    code: Code
    detail: str
    limit: Standing | None = None
    retry_after_s: int | None = None
    price_micros: int | None = None
    faults: tuple[Fault, ...] = ()
    cast_ids: tuple[UUID, ...] = ()


class RefusedError(Exception):
    """A flow refused; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


def refuse(code: Code, detail: str, *, faults: tuple[Fault, ...] = ()) -> RefusedError:
    """Return the error of a refusal that needs no more than words."""
    return RefusedError(Refusal(code=code, detail=detail, faults=faults))
