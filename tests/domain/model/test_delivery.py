from datetime import UTC, datetime, timedelta

import pytest

from domain.model.delivery import (
    ATTEMPTS_MAX,
    FAILING_MAX,
    JITTER_PERMILLE_MAX,
    RETRY_AFTER_MAX,
    RETRY_PAUSES,
    WINDOW_MAX,
    WINDOW_NEW,
    Answer,
    Status,
    judge,
    next_window,
    storable,
)

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def pause_after(answer: Answer, *, tries: int = 1, jitter_permille: int = 0) -> timedelta:
    verdict = judge(answer, tries=tries, now=NOW, jitter_permille=jitter_permille)
    assert verdict.status is Status.PENDING
    assert verdict.next_attempt_at is not None
    return verdict.next_attempt_at - NOW


@pytest.mark.parametrize("status_code", [200, 201, 204, 299])
def test_any_2xx_is_delivered(status_code: int) -> None:
    verdict = judge(Answer(status_code=status_code), tries=ATTEMPTS_MAX + 5, now=NOW, jitter_permille=0)
    assert (verdict.status, verdict.next_attempt_at, verdict.endpoint_gone) == (Status.DELIVERED, None, False)


@pytest.mark.parametrize("answer", [Answer(error="none"), *(Answer(status_code=code) for code in (301, 302, 400, 500))])
def test_anything_else_waits_longer_each_time_and_ends_after_three_days(answer: Answer) -> None:
    pauses = [pause_after(answer, tries=tries) for tries in range(1, ATTEMPTS_MAX)]
    assert pauses == list(RETRY_PAUSES) == sorted(pauses)
    assert pauses[:3] == [timedelta(seconds=5), timedelta(minutes=1), timedelta(minutes=5)]
    assert sum(pauses, timedelta()) * (1000 - JITTER_PERMILLE_MAX) // 1000 > FAILING_MAX - timedelta(hours=3)
    assert sum(pauses, timedelta()) < timedelta(days=4)
    last = judge(answer, tries=ATTEMPTS_MAX, now=NOW, jitter_permille=0)
    assert (last.status, last.next_attempt_at, last.endpoint_gone) == (Status.FAILED, None, False)


def test_jitter_moves_a_retry_by_up_to_a_tenth_either_way() -> None:
    silent = Answer(error="none")
    assert pause_after(silent, tries=2, jitter_permille=-100) == timedelta(seconds=54)
    assert pause_after(silent, tries=2, jitter_permille=100) == timedelta(seconds=66)
    with pytest.raises(AssertionError):
        pause_after(silent, jitter_permille=101)


def test_gone_ends_the_endpoint_at_once() -> None:
    verdict = judge(Answer(status_code=410), tries=1, now=NOW, jitter_permille=0)
    assert (verdict.status, verdict.endpoint_gone) == (Status.FAILED, True)


def test_what_is_hopeless_is_not_tried_again() -> None:
    verdict = judge(
        Answer(error="no such mailbox", status_code=550, hopeless=True), tries=1, now=NOW, jitter_permille=0
    )
    assert (verdict.status, verdict.endpoint_gone) == (Status.FAILED, False)


@pytest.mark.parametrize(
    ("status_code", "asked_s", "expected"),
    [
        (429, 600, timedelta(minutes=10)),
        (503, 600, timedelta(minutes=10)),
        (503, 1, RETRY_PAUSES[0]),
        (503, 10**9, RETRY_AFTER_MAX),
        (500, 600, RETRY_PAUSES[0]),
        (302, 600, RETRY_PAUSES[0]),
    ],
)
def test_retry_after_prolongs_a_pause_within_bounds(status_code: int, asked_s: int, expected: timedelta) -> None:
    assert pause_after(Answer(status_code=status_code, retry_after_s=asked_s)) == expected


def test_an_error_beside_a_status_is_no_delivery() -> None:
    assert not Answer(status_code=250, error="the SMTP server refused it").delivered


def test_what_others_wrote_into_an_error_is_stored_as_text() -> None:
    assert storable("550 no \x00 such \udcff mailbox") == "550 no ? such ? mailbox"
    assert storable("e" * 10_000) == "e" * 1_000


def test_a_window_grows_while_a_destination_answers_and_shrinks_to_one_when_it_does_not() -> None:
    grown = WINDOW_NEW
    for _ in range(10):
        grown = next_window(grown, answered=True)
    assert grown == WINDOW_MAX
    assert next_window(grown, answered=False) == 1
    assert next_window(1, answered=True) == 2
