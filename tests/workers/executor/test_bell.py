"""When a child wakes the parent that sleeps while a batch is answered (decision 0029)."""

import socket
from collections.abc import Iterator

import pytest

from workers.executor import child
from workers.executor.child import _Bell

NEVER_NS = 10**18


class Heard:
    """A bell, and how often it was heard."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.settimeout(0)
        self.bell = _Bell(self._theirs.fileno())

    def batch(self, answers: list[bytes]) -> list[int]:
        """Have casts that were sent together be answered; return how often the bell rang before each and at the end."""
        self.bell.begin(len(answers))
        rings: list[int] = []
        for answer in answers:
            self.bell.before(answer)
            rings.append(self._rings())
        self.bell.end()
        return [*rings, self._rings()]

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


def test_a_batch_is_rung_for_once_behind_its_last_answer(heard: Heard) -> None:
    for _ in range(2):
        assert heard.batch([b"1"] * 4) == [0, 0, 0, 0, 1]


def test_one_alone_is_not_rung_for(heard: Heard) -> None:
    assert heard.batch([b"1"]) == [0, 0]


def test_an_answer_that_may_not_fit_is_rung_for_before_it_is_written(heard: Heard) -> None:
    half = bytes(24 * 1024)
    assert heard.batch([half, half, b"1", half]) == [0, 0, 1, 0, 0]
    # What lay there before was read: the next batch has the whole room again.
    assert heard.batch([half, b"1"]) == [0, 0, 1]


def test_an_answer_that_comes_late_is_rung_for_before_it_is_written(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_RING_AFTER_NS", -1)
    assert heard.batch([b"1", b"2", b"3"]) == [1, 0, 0, 0]
