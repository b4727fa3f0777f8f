"""What a worker thread sends ahead: short casts with small inputs, in order, and no more than a batch."""

from collections.abc import Callable, Generator
from uuid import UUID

import dramatiq
import msgspec
import pytest

from domain.model.limits import CastLimits
from domain.model.messages import MESSAGE_VERSION, CastJob
from workers.ahead import AHEAD_COUNT_MAX, AHEAD_INPUT_BYTES_MAX, AHEAD_US_MAX, BatchAhead, UsualTimes
from workers.broker import MsgpackEncoder
from workers.broker.entries import Entry, MeteredMessage, QueueState, StreamMessage, decode_fields
from workers.broker.wire import encode_message
from workers.executor.protocol import ExecuteRequest

FAST, SLOW, UNKNOWN = (bytes([number]) * 32 for number in range(3))
NEVER_MS = 2**53


class Line:
    """A broker's work queue, as far as a `BatchAhead` sees it."""

    def __init__(self) -> None:
        self.waiting: list[StreamMessage] = []
        self.reserved: list[StreamMessage] = []

    def reserve(self, wanted: Callable[[StreamMessage], bool], count_max: int) -> None:
        for message in self.waiting[:count_max]:
            if not wanted(message):
                return
            self.reserved.append(message)

    def give_back_reserved(self) -> None:
        self.reserved.clear()


def message_of(number: int, digest: bytes = FAST, **fields: object) -> StreamMessage:
    job = CastJob(
        cast_id=UUID(int=number),
        token=b"t" * 16,
        digest=digest,
        limits=CastLimits(),
        input=b"1",
        accepted_ms=0,
        deadline_ms=NEVER_MS,
    )
    queue = QueueState("default", 0, None)
    body = encode_message("default", msgspec.structs.replace(job, **fields))
    return MeteredMessage(decode_fields(body), Entry(queue, b"0-1", body, suspect=False))


@pytest.fixture(autouse=True)
def _encoder() -> Generator[None]:
    before = dramatiq.get_encoder()
    dramatiq.set_encoder(MsgpackEncoder())
    yield
    dramatiq.set_encoder(before)


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def ahead(line: Line) -> BatchAhead:
    usual = UsualTimes()
    usual.note(FAST, 100)
    usual.note(SLOW, AHEAD_US_MAX)
    return BatchAhead(line, usual)


def taken(ahead: BatchAhead, digest: bytes = FAST) -> list[int]:
    first = ExecuteRequest(cast_id=UUID(int=0), digest=digest, limits=CastLimits(), input=b"")
    return [request.cast_id.int for request in ahead.take(first)]


def test_short_casts_in_order_and_no_more_than_a_batch(ahead: BatchAhead, line: Line) -> None:
    line.waiting = [message_of(number) for number in range(1, 100)]
    assert taken(ahead) == list(range(1, AHEAD_COUNT_MAX))


@pytest.mark.parametrize(
    "other",
    [
        {"digest": SLOW},
        {"digest": UNKNOWN},
        {"input": None},
        {"input": bytes(AHEAD_INPUT_BYTES_MAX + 1)},
        {"deadline_ms": 1},
        {"v": MESSAGE_VERSION + 1},
    ],
)
def test_the_batch_ends_before_what_may_hold_it_up(ahead: BatchAhead, line: Line, other: dict[str, object]) -> None:
    line.waiting = [message_of(1), message_of(2, **other), message_of(3)]
    assert taken(ahead) == [1]
    assert line.reserved == line.waiting[:1]


@pytest.mark.parametrize("digest", [SLOW, UNKNOWN])
def test_nothing_is_sent_behind_a_module_that_is_slow_or_new(ahead: BatchAhead, line: Line, digest: bytes) -> None:
    line.waiting = [message_of(1)]
    assert taken(ahead, digest) == []
    assert line.reserved == []


def test_the_batch_as_a_whole_is_short(line: Line) -> None:
    usual = UsualTimes()
    usual.note(FAST, AHEAD_US_MAX // 4)
    line.waiting = [message_of(number) for number in range(1, 100)]
    assert taken(BatchAhead(line, usual)) == [1, 2]


def test_a_job_is_decoded_once_and_forgotten_when_given_back(ahead: BatchAhead, line: Line) -> None:
    line.waiting = [message_of(1), message_of(2)]
    taken(ahead)
    job = ahead.job(line.waiting[0])
    assert job is not None
    assert job.cast_id.int == 1
    assert ahead.job(line.waiting[0]) is None
    ahead.give_back()
    assert ahead.job(line.waiting[1]) is None
    assert line.reserved == []


def test_a_slow_cast_counts_at_once_and_is_forgiven_little_by_little() -> None:
    usual = UsualTimes()
    assert usual.of(FAST) >= AHEAD_US_MAX
    usual.note(FAST, 100)
    usual.note(FAST, 10_000)
    assert usual.of(FAST) == 10_000
    for _ in range(20):
        usual.note(FAST, 100)
    assert 100 < usual.of(FAST) < 1_000
