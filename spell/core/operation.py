"""One operation of the API: how it is asked, how its answer is read, when it is tried again."""

import logging
import re
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from spell.core.exchange import Broken, Reply, Request, Send, Session, Sleep, Steps
from spell.core.refusals import error_of
from spell.errors import ApiError, OutcomeUnknown, SpellError, UnexpectedAnswer

T = TypeVar("T")
_logger: Final = logging.getLogger("spell")

# The first pause is up to this long, each further one up to twice as long, with full jitter: clients that failed
# together do not come back together.
BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 8.0
# What refused a request without doing it, or lost it on the way. 402 and 409 are not here, and never will be.
RETRIED_STATUSES: Final = frozenset({429, 502, 503, 504})
# Of those from 500 on, this alone says that nothing was done. 502 and 504 are a proxy's, which does not know.
UNDONE_STATUSES: Final = frozenset({503})
_INTERNAL_ERROR: Final = 500
_NOT_FOUND: Final = 404
IDEMPOTENCY_KEY: Final = "idempotency-key"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


class Operation(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One request and what becomes of it. Doing it twice is doing it once: by its nature, or by its key."""

    request: Request
    decode: Callable[[Reply], T]
    creates: bool = False
    """Sent with an Idempotency-Key, the same on every retry, so that it is done once."""
    idempotency_key: str | None = None
    """The caller's own; None makes one for each call."""
    patience_s: float = 0.0
    """How much longer than others its answer may take."""

    def steps(self, session: Session) -> Steps[T]:
        """Send it until it is answered for good. SpellError after the last try."""
        request, key = self.request, None
        if self.creates:
            key = checked_key(self.idempotency_key) or session.new_key()
            request = msgspec.structs.replace(request, headers={**request.headers, IDEMPOTENCY_KEY: key})
        give_up_at = session.clock() + session.total_timeout_s + self.patience_s
        maybe_done = False
        for retry in range(session.retries_max + 1):
            left_s = give_up_at - session.clock()
            outcome = yield Send(
                request=request, timeout_s=min(session.timeout_s + self.patience_s, max(left_s, 0.001))
            )
            assert outcome is not None, "a request is answered by a reply or by what broke"
            if isinstance(outcome, Reply) and (outcome.ok or self._gone_by_us(outcome, maybe_done=maybe_done)):
                return self.decode(outcome)
            error = outcome.error if isinstance(outcome, Broken) else error_of(outcome)
            cause = outcome.cause if isinstance(outcome, Broken) else None
            maybe_done = maybe_done or _maybe_done(outcome, error)
            error.idempotency_key, error.maybe_done = key, maybe_done
            pause_s = _pause_s(error, retry, session)
            if retry == session.retries_max or pause_s is None or session.clock() + pause_s >= give_up_at:
                raise error from cause
            _logger.info("%s %s is tried again in %.2f s: %s", request.method, request.path, pause_s, error)
            yield Sleep(seconds=pause_s)
        raise AssertionError("the last try returns or raises")  # noqa: EM101, TRY003  # never seen by a user

    def _gone_by_us(self, reply: Reply, *, maybe_done: bool) -> bool:
        """Tell whether a DELETE finds nothing because the try before, whose answer was lost, did it."""
        return self.request.method == "DELETE" and reply.status == _NOT_FOUND and maybe_done


def _pause_s(error: SpellError, retry: int, session: Session) -> float | None:
    """Return how long to wait before the next try; None when there must be none."""
    after_s = 0
    if isinstance(error, ApiError):
        internal = error.status == _INTERNAL_ERROR and error.retryable
        if error.status not in RETRIED_STATUSES and not internal:
            return None
        after_s = error.retry_after_s or 0
    return after_s + session.chance() * min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2**retry)


def _maybe_done(outcome: Reply | Broken, error: SpellError) -> bool:
    if isinstance(outcome, Broken):
        return outcome.maybe_done
    return outcome.status >= _INTERNAL_ERROR and (
        outcome.status not in UNDONE_STATUSES or isinstance(error, OutcomeUnknown)
    )


def checked_key(key: str | None) -> str | None:
    """Return a caller's own Idempotency-Key. ValueError for one that no header can carry."""
    if key is not None and _KEY.fullmatch(key) is None:
        message = "an idempotency_key has 1 to 255 visible ASCII characters, like a UUID"
        raise ValueError(message)
    return key


def decoded(kind: type[T]) -> Callable[[Reply], T]:
    """Return what reads the JSON of an answer as `kind`; fields it does not know are passed over."""
    decoder = msgspec.json.Decoder(kind)

    def decode(reply: Reply) -> T:
        try:
            return decoder.decode(reply.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise unexpected(reply, error) from error

    return decode


def unexpected(reply: Reply, error: Exception) -> UnexpectedAnswer:
    """Return the error of an answer that cannot be read."""
    begin = reply.body[:100].decode("utf-8", "replace")
    return UnexpectedAnswer(f"{error}; is the base URL a Spell Platform's? {reply.status}: {begin!r}")


def nothing(reply: Reply) -> None:
    """Read an answer without a body."""
    del reply


def raw(reply: Reply) -> bytes:
    """Read an answer that is the bytes."""
    return reply.body
