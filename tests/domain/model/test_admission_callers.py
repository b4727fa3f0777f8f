"""Who may cast: keys, secrets that were rotated, sessions, test keys; before anything else is looked at."""

from uuid import UUID

import pytest

from domain.model.admission import Accepted, Judged, Replayed
from domain.model.admission_state import IdempotencyState
from domain.model.errors import Code, Refusal
from domain.model.funding import Funding
from domain.model.modes import Mode
from tests.domain.model.judging import judge
from tests.domain.model.states import ACCOUNT, OTHER, account, key, request, state

DEAD_KEY = Refusal(code=Code.UNAUTHORIZED, detail="This API key is revoked or has expired. Make a new one.")
SUSPENDED = Refusal(code=Code.FORBIDDEN, detail="This account is suspended. Contact the operator.")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"keys": [key(alive=False)]}, DEAD_KEY),
        ({"keys": []}, DEAD_KEY),
        ({"keys": [key(id=OTHER)]}, DEAD_KEY),
        ({"accounts": [account(status="suspended")]}, SUSPENDED),
        ({"accounts": []}, SUSPENDED),
        ({"accounts": [account(status="suspended")], "keys": [key(alive=False)]}, DEAD_KEY),
    ],
)
def test_who_may_not_cast_is_told_before_anything_else(given: dict[str, object], expected: Refusal) -> None:
    assert judge(state(**given), request(retry_after_s=5)) == [expected]


def test_a_session_casts_without_a_key() -> None:
    (verdict,) = judge(state(keys=[]), request(key_id=None))
    assert isinstance(verdict, Judged)
    assert isinstance(verdict.results[0], Accepted)
    assert verdict.results[0].open_casts_max == 1_000


ENDED = Refusal(code=Code.UNAUTHORIZED, detail="This session has ended or expired. Sign in again.")


def test_a_session_must_be_alive_still_under_the_lock() -> None:
    asked = request(key_id=None, session_id=UUID(int=41))
    (alive,) = judge(state(keys=[], sessions=[UUID(int=40), UUID(int=41)]), asked)
    assert isinstance(alive, Judged)
    assert isinstance(alive.results[0], Accepted)
    assert judge(state(keys=[], sessions=[UUID(int=40)]), asked) == [ENDED]
    assert judge(state(keys=[], sessions=[], accounts=[account(status="suspended")]), asked) == [ENDED]


@pytest.mark.parametrize(
    ("made_with", "dead"), [(None, False), ("sk_live_new", False), ("sk_live_old", False), ("sk_live_older", True)]
)
def test_a_secret_that_was_rotated_away_casts_nothing(made_with: str | None, *, dead: bool) -> None:
    rotated = key(prefix="sk_live_new", previous_prefix="sk_live_old")
    (verdict,) = judge(state(keys=[rotated]), request(key_prefix=made_with))
    assert (verdict == DEAD_KEY) is dead
    assert judge(state(keys=[key(alive=False, prefix="sk_live_new")]), request(key_prefix="sk_live_new")) == [DEAD_KEY]


def test_a_test_cast_says_whose_it_is_and_counts_among_the_keys_open_ones() -> None:
    asked = request()
    (verdict,) = judge(state(keys=[key(prefix="sk_test_x", open_casts_max=5)]), asked)
    assert isinstance(verdict, Judged)
    (accepted,) = verdict.results
    assert isinstance(accepted, Accepted)
    assert (accepted.request, accepted.funding, accepted.held_micros) == (asked, Funding.TEST, 0)
    assert (accepted.open_casts, accepted.open_casts_max) == (1, 5)


@pytest.mark.parametrize(("prefix", "replayed"), [("sk_live_x", 2), ("sk_test_x", 3)])
def test_what_a_test_key_sent_is_remembered_apart(prefix: str, replayed: int) -> None:
    rows = [
        IdempotencyState(account_id=ACCOUNT, mode=mode, key="k", request_hash=b"h", cast_ids=(UUID(int=number),))
        for mode, number in ((Mode.LIVE, 2), (Mode.TEST, 3))
    ]
    for remembered in (rows, rows[::-1]):
        given = state(keys=[key(prefix=prefix)], idempotency=remembered)
        again = judge(given, request(idempotency_key="k", request_hash=b"h"))
        assert again == [Replayed(cast_ids=(UUID(int=replayed),))]
