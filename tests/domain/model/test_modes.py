"""Test keys in the decision: what their casts need, what they take, and what they leave alone."""

import pytest

from domain.model.admission import Accepted, Judged, Replayed
from domain.model.admission_state import AdmissionState, IdempotencyState
from domain.model.api_key import ENTROPY_BYTES, find_keys, is_prefix, mint, mode_of, prefix_of
from domain.model.errors import Code, Refusal, RefusedError
from domain.model.funding import Funding
from domain.model.limits import CastLimits
from domain.model.messages import Pool
from domain.model.modes import (
    TEST_CASTS_PER_MONTH_MAX,
    TEST_FUEL_MAX,
    TEST_SCOPES,
    Mode,
    check_test_scopes,
    mode_of_funding,
)
from tests.domain.model.judging import accept, judge, refuse, terms
from tests.domain.model.states import ACCOUNT, KEY, OTHER, account, grant, key, month, request, spec, state, window

FREE = terms(free_casts_per_month=10)


def with_test_key(**fields: object) -> AdmissionState:
    return state(**{"keys": [key(prefix="sk_test_00000000")], **fields})


def test_a_test_cast_takes_nothing_that_is_money() -> None:
    """Nothing of budgets, allowance, credits or the default limit, though each is there to be taken."""
    given = with_test_key(
        windows=[window(1, 10**9)],
        grants=[grant(5, 10**9)],
        months=[month(spent_micros=3)],
        accounts=[account(metered=False, credits_ever=True)],
    )
    (accepted,) = accept(given, spec(max_price_micros=0), terms=FREE)
    assert (accepted.funding, accepted.held_micros, accepted.window_ids, accepted.grants, accepted.budget) == (
        Funding.TEST,
        0,
        (),
        (),
        None,
    )
    assert (given.windows[0].held_micros, given.grants[0].held_micros) == (0, 0)
    assert (given.months[0].held_micros, given.months[0].free_held, given.months[0].test_casts) == (0, 0, 1)


def test_no_money_no_room_and_paused_spending_stop_no_test_cast() -> None:
    poor = account(spend_paused=True, metered=False, plan="free")
    assert accept(with_test_key(accounts=[poor], windows=[window(1, 0)]))[0].funding is Funding.TEST
    assert refuse(state(accounts=[poor])).code is Code.SPEND_PAUSED


def test_live_casts_of_the_same_batch_pay_and_test_casts_do_not() -> None:
    given = state(keys=[key(id=OTHER, prefix="sk_test_00000000"), key(prefix="sk_live_00000000")])
    verdicts = judge(given, request(key_id=OTHER), request(), request(key_id=None), terms=FREE)
    fundings = [verdict.results[0].funding for verdict in verdicts if isinstance(verdict, Judged)]
    assert fundings == [Funding.TEST, Funding.FREE, Funding.FREE]


def test_a_spell_with_a_price_is_not_given_away_unless_it_is_ones_own() -> None:
    refusal = refuse(with_test_key(), spec(creator_price_micros=7))
    assert refusal.code is Code.FORBIDDEN
    assert "live key" in refusal.detail
    own = spec(creator_price_micros=7, creator_id=ACCOUNT)
    assert accept(with_test_key(), own)[0].held_micros == 0


def test_test_casts_have_a_bound_of_their_own() -> None:
    fuel = CastLimits(fuel=TEST_FUEL_MAX)
    assert accept(with_test_key(), spec(limits=fuel))
    more = refuse(with_test_key(), spec(limits=CastLimits(fuel=TEST_FUEL_MAX + 1)))
    assert (more.code, str(TEST_FUEL_MAX) in more.detail) == (Code.TEST_ALLOWANCE_EXHAUSTED, True)
    last = with_test_key(months=[month(test_casts=TEST_CASTS_PER_MONTH_MAX - 1)])
    (verdict,) = judge(last, request(spec(), spec()))
    assert isinstance(verdict, Judged)
    first, second = verdict.results
    assert isinstance(first, Accepted)
    assert isinstance(second, Refusal)
    assert second.code is Code.TEST_ALLOWANCE_EXHAUSTED
    # Of live casts the bound knows nothing.
    assert accept(state(months=[month(test_casts=TEST_CASTS_PER_MONTH_MAX)]))


def test_the_allowance_comes_before_the_rate_and_the_rate_before_the_queue() -> None:
    used_up = {"months": [month(test_casts=TEST_CASTS_PER_MONTH_MAX)]}
    full = terms(full_pools=frozenset({Pool.DEFAULT}))

    def code(given: AdmissionState, retry_after_s: int | None = None) -> Code:
        (verdict,) = judge(given, request(retry_after_s=retry_after_s), terms=full)
        assert isinstance(verdict, Judged)
        assert isinstance(verdict.results[0], Refusal)
        return verdict.results[0].code

    assert code(with_test_key(**used_up), 5) is Code.TEST_ALLOWANCE_EXHAUSTED
    assert code(with_test_key(), 5) is Code.RATE_LIMITED
    assert code(with_test_key(accounts=[account(open_casts_max=0)])) is Code.TOO_MANY_OPEN_CASTS
    assert code(with_test_key(keys=[key(prefix="sk_test_00000000", open_casts_max=0)])) is Code.TOO_MANY_OPEN_CASTS
    assert code(with_test_key()) is Code.QUEUE_FULL


def test_one_idempotency_key_is_two_one_for_each_mode() -> None:
    live = IdempotencyState(account_id=ACCOUNT, mode=Mode.LIVE, key="k", request_hash=b"h", cast_ids=(OTHER,))
    asked = request(idempotency_key="k", request_hash=b"x")
    (verdict,) = judge(with_test_key(idempotency=[live]), asked)
    assert isinstance(verdict, Judged), "what a live key made is no replay for a test key, nor a conflict"
    first, again = judge(with_test_key(), asked, asked)
    assert isinstance(first, Judged)
    assert isinstance(again, Replayed)


def test_a_test_key_is_told_from_a_live_one_by_its_text() -> None:
    live, test = mint(bytes(ENTROPY_BYTES)), mint(bytes(ENTROPY_BYTES), Mode.TEST)
    assert (live.prefix, test.prefix) == ("sk_live_00000000", "sk_test_00000000")
    assert (mode_of(live.prefix), mode_of(test.prefix)) == (Mode.LIVE, Mode.TEST)
    assert prefix_of(test.text) == test.prefix
    assert is_prefix(test.prefix)
    # The checksum covers what kind of key it is: neither becomes the other by changing a word.
    assert prefix_of(test.text.replace("test", "live")) is None
    assert prefix_of(test.text.replace("test", "prod")) is None
    assert find_keys(f"A={live.text} B={test.text}") == [live.text, test.text]


def test_a_test_key_gets_no_power_over_the_account() -> None:
    check_test_scopes(Mode.TEST, TEST_SCOPES)
    check_test_scopes(Mode.LIVE, frozenset({"keys:write"}))
    with pytest.raises(RefusedError) as caught:
        check_test_scopes(Mode.TEST, TEST_SCOPES | {"keys:write"})
    assert caught.value.refusal.code is Code.VALIDATION
    assert caught.value.refusal.faults[0].location == "scopes"


def test_the_mode_of_a_cast_follows_from_its_funding() -> None:
    modes = {funding: mode_of_funding(funding) for funding in Funding}
    assert modes.pop(Funding.TEST) is Mode.TEST
    assert set(modes.values()) == {Mode.LIVE}
    assert key(prefix="sk_test_00000000").is_test
    assert not key(id=KEY).is_test
