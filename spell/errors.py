"""Everything the SDK raises. Catch `MoneyError` for every refusal about money, `SpellError` for all of it.

- SpellError
  - MissingApiKey: no key was given, so nothing was sent
  - ConnectionFailed: no answer; TimedOut: the server stayed silent
  - UnexpectedAnswer: an answer that is none of the platform's
  - CastFailed: `cast.result()` of a cast that did not succeed; CastNotFinished: while it is open
  - OutputMissing: `cast.result()` of one whose output expired, or was left out of a list or a webhook
  - WaitTimedOut: `wait()` ran out of time; the cast goes on
  - SignatureInvalid: a webhook that is not from the platform, or too old
  - ReceiptInvalid: a receipt the platform did not sign, or that was changed
  - ApiError: the platform refused; `code` says why
    - MoneyError (402, never retried): BudgetExceeded, InsufficientCredits, FreeTierExhausted, PaymentRequired,
      SpendPaused, TestAllowanceExhausted
    - Conflict (409, never retried): PriceChanged, QuoteExpired
    - RateLimited (429, retried): TooManyOpenCasts
    - ServerBusy (503, retried): OutcomeUnknown
    - Unauthorized, Forbidden, NotFound, ValidationError, IdempotencyKeyReused
"""

# ruff: noqa: N818  # the names say what happened; `Error` at the end of each would say it twice

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from spell.models.casts import Cast


class SpellError(Exception):
    """Whatever the SDK raises."""

    idempotency_key: str | None = None
    """What the request was sent under: repeat the call with it, and it is done once."""
    maybe_done: bool = False
    """A try got no answer, so the platform may have done it all the same."""
    accepted: "Cast | None" = None
    """The cast that was accepted before this went wrong: it goes on, and may cost what it holds."""


class MissingApiKey(SpellError):
    """There is no API key: neither `api_key=` nor the environment's SPELL_API_KEY."""


class ConnectionFailed(SpellError):
    """No answer came, after all retries. A creating call can be repeated with `idempotency_key`."""


class TimedOut(ConnectionFailed):
    """The server stayed silent longer than the timeout."""


class UnexpectedAnswer(SpellError):
    """The answer is not what this version of the SDK can read. The text begins with what came."""


class CastFailed(SpellError):
    """The cast ended without a result. `code` is its error's, or its status when it has none (`canceled`)."""

    def __init__(self, cast: "Cast") -> None:
        super().__init__(cast)
        self.cast: Cast = cast

    @property
    def code(self) -> str:
        """What ended it: `trap`, `fuel_exhausted`, `exit_nonzero`, `canceled`, `expired`, ..."""
        return self.cast.status if self.cast.error is None else self.cast.error.code

    def __str__(self) -> str:
        """Say which cast, and why."""
        words = "" if self.cast.error is None else f": {self.cast.error.message}"
        return f"cast {self.cast.id} of {self.cast.spell} {self.cast.status} ({self.code}){words}"


class CastNotFinished(CastFailed):
    """The cast has not ended yet, so it has no result: `client.casts.wait(cast)` waits for it."""

    def __str__(self) -> str:
        """Say which cast, and what to do."""
        return f"cast {self.cast.id} is {self.cast.status}; wait for it with casts.wait()"


class OutputMissing(SpellError):
    """The cast succeeded, but its output is not in this answer: it expired, or was left out of a list or a webhook."""

    def __init__(self, cast: "Cast") -> None:
        super().__init__(cast)
        self.cast: Cast = cast

    def __str__(self) -> str:
        """Say which cast, and what to do."""
        if self.cast.data_expired:
            return f"the output of cast {self.cast.id} was kept until {self.cast.data_expires_at}"
        return f"the output of cast {self.cast.id} was left out of this answer; ask for it with casts.get()"


class WaitTimedOut(SpellError):
    """The cast did not end in time. It goes on; `cast` is how it was last seen."""

    def __init__(self, cast: "Cast") -> None:
        super().__init__(cast)
        self.cast: Cast = cast

    def __str__(self) -> str:
        """Say which cast, and what to do."""
        return f"cast {self.cast.id} is still {self.cast.status}; wait again, or casts.cancel() it"


class SignatureInvalid(SpellError):
    """The webhook was not signed with this secret, or is older than the tolerance: answer it with 400."""


class ReceiptInvalid(SpellError):
    """The receipt is not what the platform signed; the text says why."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One place of a request that does not fit, and how to mend it."""

    location: str = ""
    message: str = ""
    fix: str = ""


class BudgetLimit(msgspec.Struct, frozen=True, kw_only=True):
    """The limit that had no room. Micros are 10^-6 USD; `id` None is the platform's default limit."""

    id: str | None
    scope: str
    scope_id: str
    period: str
    limit_micros: int
    spent_micros: int
    held_micros: int
    needed_micros: int
    resets_at: datetime
    raise_url: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal as it came (RFC 9457). `members` is all of it, with what this version does not know."""

    status: int
    error: str
    title: str = ""
    detail: str = ""
    request_id: str | None = None
    retryable: bool = False
    errors: tuple[Fault, ...] = ()
    limit: BudgetLimit | None = None
    price_micros: int | None = None
    cast_ids: tuple[str, ...] = ()
    retry_after_s: int | None = None
    """Of the header; not part of the body."""
    members: dict[str, Any] = {}


class ApiError(SpellError):
    """The platform refused the request. Nothing was held or charged for it, except as OutcomeUnknown says."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.status = problem.status
        self.code = problem.error
        """Stable, to decide by: `budget_exceeded`, `not_found`, ..."""
        self.title = problem.title
        self.detail = problem.detail
        """For people: what is wrong and what to do."""
        self.request_id = problem.request_id
        """Name it to the platform's operator."""
        self.retryable = problem.retryable
        self.retry_after_s = problem.retry_after_s
        self.errors = problem.errors
        self.problem = problem.members
        """The whole body."""

    def __str__(self) -> str:
        """Say it in one line: code, detail, each fault, request id."""
        faults = "".join(f" [{fault.location}: {fault.message}. {fault.fix}]" for fault in self.errors)
        request = "" if self.request_id is None else f" (request {self.request_id})"
        return f"{self.status} {self.code}: {self.detail}{faults}{request}"


class MoneyError(ApiError):
    """402: there is no money for it. Nothing ran; no retry helps before somebody acts."""


class BudgetExceeded(MoneyError):
    """A hard budget has no room for what the cast could cost at most."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        assert problem.limit is not None, "chosen only when the limit is named"
        self.limit = problem.limit
        self.limit_id = problem.limit.id
        self.scope = problem.limit.scope
        self.period = problem.limit.period
        self.limit_micros = problem.limit.limit_micros
        self.spent_micros = problem.limit.spent_micros
        self.held_micros = problem.limit.held_micros
        self.needed_micros = problem.limit.needed_micros
        self.resets_at = problem.limit.resets_at
        self.raise_url = problem.limit.raise_url


class InsufficientCredits(MoneyError):
    """The credits are used up."""


class FreeTierExhausted(MoneyError):
    """The free casts of this month are used up."""


class PaymentRequired(MoneyError):
    """There is no working payment method."""


class SpendPaused(MoneyError):
    """Somebody stopped all spending of the account."""


class TestAllowanceExhausted(MoneyError):
    """The test casts of this month are used up, or do not cover this one: use a live key."""


class Conflict(ApiError):
    """409: it is not as the request assumes. Look again, then decide."""


class PriceChanged(Conflict):
    """The cast could cost more than `max_price_micros`; `price_micros` is what it could cost now."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.price_micros = problem.price_micros


class QuoteExpired(Conflict):
    """The quote's time is over: ask for a new one, or cast at the prices of now without it."""


class RateLimited(ApiError):
    """429 after all retries: wait `retry_after` seconds."""

    @property
    def retry_after(self) -> int:
        """Seconds until it is worth another try."""
        return 1 if self.retry_after_s is None else self.retry_after_s


class TooManyOpenCasts(RateLimited):
    """As many casts are open as the account or key may have; wait for some to end."""


class ServerBusy(ApiError):
    """502, 503 or 504 after all retries: full, or down. Nothing was held."""


class OutcomeUnknown(ServerBusy):
    """Casts may or may not have been accepted: ask for `cast_ids`, or repeat with `idempotency_key`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.cast_ids = problem.cast_ids


class Unauthorized(ApiError):
    """401: the key is unknown, expired or revoked."""


class Forbidden(ApiError):
    """403: the key lacks a scope, or the spell is not yours."""


class NotFound(ApiError):
    """404: it is not there, or not yours."""


class ValidationError(ApiError):
    """400, 413, 415 or 422: the request does not fit; `errors` names each place and how to mend it."""

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Each place that does not fit."""
        return self.errors


class IdempotencyKeyReused(ApiError):
    """The key was used for another request: take a new one for each."""
