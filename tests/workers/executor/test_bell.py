"""When a child wakes the parent that sleeps while a batch is answered (decision 0029)."""

import socket
from collections.abc import Iterator

import pytest

from domain.model.limits import CastLimits
from workers.executor import child
from workers.executor.child import _Bell
from workers.executor.protocol import CastFrame

NEVER_NS = 10**18


class Heard:
    """A bell, and how often it was heard."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.settimeout(0)
        self.bell = _Bell(self._theirs.fileno())

    def cast(self, behind: int, *, answer: bytes = b"", begin_by_ns: int = 0) -> tuple[int, int]:
        """Have one cast begin and be answered; return how often the bell rang before its answer and behind it."""
        cast = CastFrame(digest=b"", limits=CastLimits(), input=b"", behind=behind, begin_by_ns=begin_by_ns)
        self.bell.begin(cast)
        self.bell.before(answer)
        before = self._rings()
        self.bell.after(cast)
        return before, self._rings()

    def _rings(self) -> int:
        try:
            return len(self._ours.recv(64))
        except BlockingIOError:
            return 0

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    monkeypatch.setattr(child, "_RING_AFTER_NS", NEVER_NS)
    made = Heard()
    yield made
    made.close()


def batch(heard: Heard, answers: list[bytes]) -> list[tuple[int, int]]:
    """Answer casts that were sent together: all but the first say by when they must begin."""
    last = len(answers) - 1
    return [heard.cast(last - place, answer=answer, begin_by_ns=place) for place, answer in enumerate(answers)]


def test_a_batch_is_rung_for_once_behind_its_last_answer(heard: Heard) -> None:
    for _ in range(2):
        assert batch(heard, [b"1"] * 4) == [(0, 0), (0, 0), (0, 0), (0, 1)]


def test_one_alone_is_not_rung_for(heard: Heard) -> None:
    assert heard.cast(0) == (0, 0)


def test_an_answer_that_may_not_fit_is_rung_for_before_it_is_written(heard: Heard) -> None:
    half = bytes(24 * 1024)
    assert batch(heard, [half, half, b"1", half]) == [(0, 0), (0, 0), (1, 0), (0, 0)]
    # What lay there before was read: the next batch has the whole room again.
    assert batch(heard, [half, b"1"]) == [(0, 0), (0, 1)]


def test_an_answer_that_comes_late_is_rung_for_before_it_is_written(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_RING_AFTER_NS", -1)
    assert batch(heard, [b"1", b"2", b"3"]) == [(1, 0), (0, 0), (0, 0)]
