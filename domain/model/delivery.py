"""What follows from the answer to a delivery: when it is tried again, and when it is given up. Pure."""

import enum
from collections.abc import Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final
from uuid import UUID

import msgspec

# Seconds for a receiver that is being restarted, minutes for one being deployed, days for one that nobody looks at on a
# weekend: 77 hours in all.
RETRY_PAUSES: Final[Sequence[timedelta]] = (
    timedelta(seconds=5),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=22),
    timedelta(hours=24),
)
ATTEMPTS_MAX: Final = len(RETRY_PAUSES) + 1
# What failed together is not tried again together: each pause is shortened or prolonged by up to a tenth.
JITTER_PERMILLE_MAX: Final = 100
# A receiver may ask for patience, but not for so much that an event outlives what it tells of.
RETRY_AFTER_MAX: Final = timedelta(hours=24)
# As long as the retries of one delivery take: nothing reached the endpoint in all that time.
FAILING_MAX: Final = timedelta(days=3)
# Deliveries in flight to one destination: few until it has answered, more while it answers, one while it does not. A
# destination that hangs holds one place, for as long as an attempt may take.
WINDOW_NEW: Final = 2
WINDOW_MAX: Final = 16
WINDOW_SILENT: Final = 1
# A sentence says what is wrong; more is somebody else's prose.
ERROR_CHARACTERS_MAX: Final = 1_000

_MAY_ASK_FOR_PATIENCE: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class Kind(enum.StrEnum):
    """How a row leaves the platform."""

    WEBHOOK = "webhook"
    MAIL = "mail"


class Status(enum.StrEnum):
    """How far a row is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELED = "canceled"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The endpoint a delivery goes to."""

    id: UUID
    secret_version: int
    previous_secret_signs: bool
    """The version before is still valid for receivers that have not changed over."""
    usable: bool
    """Neither disabled nor deleted."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A row that a courier holds until `lease_until`."""

    id: UUID
    account_id: UUID
    kind: Kind
    event_id: UUID
    event_type: str
    endpoint: Endpoint | None
    target: str
    """The URL, or the address of the mail."""
    destination: str
    """What it shares its places in flight with."""
    body: bytes | None
    """What is sent; None: what the event tells of is gone."""
    attempt: int
    """Counts all that were ever begun, from 1; also those whose courier died."""
    tries: int
    """The same since the row was made or asked for again."""
    lease_until: datetime


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. Without a status code nothing did, or nothing that could be understood, and `error` says why."""

    status_code: int | None = None
    body: bytes = b""
    """Its first bytes."""
    error: str | None = None
    retry_after_s: int | None = None
    hopeless: bool = False
    """Trying again cannot help."""

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return (
            self.error is None
            and self.status_code is not None
            and HTTPStatus.OK <= self.status_code < HTTPStatus.MULTIPLE_CHOICES
        )


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of the row."""

    status: Status
    next_attempt_at: datetime | None = None
    """Set while pending."""
    endpoint_gone: bool = False
    """The receiver said that there will never be anybody again."""


def judge(answer: Answer, *, tries: int, now: datetime, jitter_permille: int) -> Verdict:
    """Return what follows from `answer` to try number `tries` (from 1).

    `jitter_permille` is random, from -JITTER_PERMILLE_MAX to JITTER_PERMILLE_MAX.
    """
    assert tries >= 1, "a verdict follows a try"
    assert abs(jitter_permille) <= JITTER_PERMILLE_MAX, "jitter is a tenth at most"
    if answer.delivered:
        return Verdict(status=Status.DELIVERED)
    gone = answer.status_code == HTTPStatus.GONE
    if gone or answer.hopeless or tries >= ATTEMPTS_MAX:
        return Verdict(status=Status.FAILED, endpoint_gone=gone)
    pause = RETRY_PAUSES[tries - 1] * (1000 + jitter_permille) / 1000
    if answer.retry_after_s is not None and answer.status_code in _MAY_ASK_FOR_PATIENCE:
        pause = max(pause, min(timedelta(seconds=answer.retry_after_s), RETRY_AFTER_MAX))
    return Verdict(status=Status.PENDING, next_attempt_at=now + pause)


def storable(error: str) -> str:
    """Return `error`, of which somebody else may have written a part, as text that Postgres takes and people read."""
    return error[:ERROR_CHARACTERS_MAX].encode("utf-8", "replace").decode().replace("\x00", "?")


def next_window(window: int, *, answered: bool) -> int:
    """Return how many deliveries a destination may have in flight after one more was answered, or was not."""
    return min(window * 2, WINDOW_MAX) if answered else WINDOW_SILENT
