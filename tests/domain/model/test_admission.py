"""The decision alone: who is accepted with what hold, who is refused with which words, in what order."""

from uuid import UUID

import msgspec
import pytest

from domain.model.admission import (
    ON_WIRE_PER_ACCOUNT_MAX,
    Accepted,
    Judged,
    Replayed,
)
from domain.model.admission_state import IdempotencyState
from domain.model.creator_price import NO_PRICE, CreatorPrice
from domain.model.errors import Code, Refusal, Standing
from domain.model.funding import Funding
from domain.model.ids import cast_id
from domain.model.limits import CastLimits
from domain.model.messages import Pool
from domain.model.modes import Mode
from domain.model.periods import Period
from domain.model.places import NO_CAST
from domain.model.pricing import Price
from domain.model.quote import QuotedTerms
from tests.domain.model.judging import NEXT_MONTH, RANDOM, TOMORROW, accept, judge, refuse, results, terms
from tests.domain.model.states import (
    ACCOUNT,
    CREATOR,
    HOLD,
    KEY,
    NOW_MS,
    OTHER,
    SPELL,
    account,
    key,
    request,
    spec,
    standing,
    state,
    window,
)


def test_an_accepted_cast_says_all_its_hold_consists_of() -> None:
    asked = request(spec(creator_price_micros=500))
    (verdict,) = judge(state(windows=[window(11, 10_000, spent_micros=40, held_micros=2)]), asked)
    hold = HOLD + 500
    shown = Standing(
        limit_id=UUID(int=11),
        scope="account",
        scope_id=ACCOUNT,
        period=Period.MONTHLY,
        limit_micros=10_000,
        spent_micros=40,
        held_micros=2 + hold,
        needed_micros=0,
        resets_at=NEXT_MONTH,
    )
    expected = Accepted(
        cast_id=cast_id(NOW_MS, sequence=0, entropy=RANDOM[:8]),
        request=asked,
        spec=asked.casts[0],
        accepted_ms=NOW_MS,
        price_version=7,
        creator_price=CreatorPrice(per_cast_micros=500),
        held_micros=hold,
        funding=Funding.METERED,
        window_ids=(window(11, 0).id,),
        grants=(),
        on_wire=True,
        budget=shown,
        open_casts=1,
        open_casts_max=1_000,
    )
    assert verdict == Judged(results=(expected,))


def test_each_cast_of_a_batch_has_the_next_number_and_its_own_randomness() -> None:
    (first,), (second, third) = (
        verdict.results for verdict in judge(state(), request(), request(spec(), spec())) if isinstance(verdict, Judged)
    )
    minted = [accepted.cast_id for accepted in (first, second, third) if isinstance(accepted, Accepted)]
    expected = [cast_id(NOW_MS, sequence=i, entropy=RANDOM[8 * i : 8 * i + 8]) for i in range(3)]
    assert minted == expected == sorted(minted)


def test_a_quote_is_good_until_its_last_millisecond() -> None:
    quote = QuotedTerms(
        id=OTHER,
        price=Price(version=6, per_cast_micros=900, per_gfuel_micros=100, platform_share_percent=20),
        creator_price=NO_PRICE,
        expires_ms=NOW_MS + 1,
    )
    (accepted,) = accept(state(), spec(quote=quote))
    assert (accepted.held_micros, accepted.price_version) == (1_000, 6)
    expired = spec(quote=msgspec.structs.replace(quote, expires_ms=NOW_MS))
    detail = "The quote has expired. Ask for a new one, or leave it out."
    assert refuse(state(), expired) == Refusal(code=Code.QUOTE_EXPIRED, detail=detail)


def test_a_price_of_output_is_held_for_all_the_output_there_may_be() -> None:
    asks = CreatorPrice(per_output_kib_micros=3)
    (accepted,) = accept(state(), spec(price=standing(asks), limits=CastLimits(output_bytes=2_049)))
    assert accepted.held_micros == HOLD + 3 * 3


def test_spending_that_is_paused_refuses_even_what_a_budget_would_too() -> None:
    given = state(accounts=[account(spend_paused=True)], windows=[window(1, 0)])
    detail = "Spending is paused for this account. Resume it to cast."
    assert refuse(given) == Refusal(code=Code.SPEND_PAUSED, detail=detail)


def test_a_budget_with_exactly_the_room_accepts_and_with_a_micro_less_names_itself() -> None:
    full = {"spent_micros": 300, "held_micros": 200, "period": Period.DAILY}
    (accepted,) = accept(state(windows=[window(1, 500 + HOLD, **full)]))
    assert accepted.budget is not None
    assert accepted.budget.held_micros == 200 + HOLD
    refusal = refuse(state(windows=[window(1, 499 + HOLD, **full)]))
    shown = Standing(
        limit_id=UUID(int=1),
        scope="account",
        scope_id=ACCOUNT,
        period=Period.DAILY,
        limit_micros=499 + HOLD,
        spent_micros=300,
        held_micros=200,
        needed_micros=HOLD,
        resets_at=TOMORROW,
    )
    detail = "The daily account budget of 2999 micros has no room for 2500: 300 spent, 200 held."
    assert refusal == Refusal(code=Code.BUDGET_EXCEEDED, detail=detail, limit=shown)


def test_every_budget_that_applies_is_held_in_and_no_other() -> None:
    applying = [
        window(1, None),
        window(2, 50_000, scope="key", scope_id=KEY),
        window(3, 40_000, scope="spell", scope_id=SPELL),
    ]
    foreign = [
        window(4, 0, scope="key", scope_id=OTHER),
        window(5, 0, scope="spell", scope_id=OTHER),
        window(6, 0, scope="key", scope_id=SPELL),
        window(7, 0, scope="spell", scope_id=KEY),
        window(8, 0, account_id=OTHER, scope_id=OTHER),
    ]
    (accepted,) = accept(state(windows=[*applying, *foreign]))
    assert accepted.window_ids == tuple(sorted(one.id for one in applying))
    assert [one.held_micros for one in applying] == [HOLD] * 3
    assert [one.held_micros for one in foreign] == [0] * 5
    assert accepted.budget is not None
    assert (accepted.budget.limit_id, accepted.budget.scope) == (UUID(int=3), "spell")
    assert accepted.budget.scope_id == SPELL


def test_of_equally_tight_budgets_the_first_by_id_is_named() -> None:
    windows = [window(number, 0) for number in range(1, 9)]
    first = min(windows, key=lambda one: one.id)
    for order in (windows, windows[::-1]):
        refusal = refuse(state(windows=order))
        assert refusal.limit is not None
        assert refusal.limit.limit_id == first.budget_id


@pytest.mark.parametrize("field", ["spent_micros", "held_micros"])
def test_the_tightest_has_the_least_room_not_the_least_limit(field: str) -> None:
    windows = [window(1, 10_000, **{field: 6_000}), window(2, 5_000)]
    (accepted,) = accept(state(windows=windows))
    assert accepted.budget is not None
    assert accepted.budget.limit_id == UUID(int=1)


def test_budgets_without_a_hard_limit_hide_none_that_has_one() -> None:
    soft = [window(number, None) for number in range(2, 12)]
    assert refuse(state(windows=[window(1, 0), *soft])).code is Code.BUDGET_EXCEEDED


def test_without_a_hard_limit_no_budget_is_shown() -> None:
    (accepted,) = accept(state(windows=[window(1, None)]))
    assert accepted.budget is None


def test_what_one_cast_took_the_next_does_not_have() -> None:
    first, second, third = results(state(windows=[window(1, 2 * HOLD)]), *[spec()] * 3)
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert isinstance(third, Refusal)
    assert third.limit is not None
    assert third.limit.held_micros == 2 * HOLD


# Price, rate, open casts, queue


def test_a_price_at_the_callers_bound_is_fine_and_above_it_is_named() -> None:
    assert accept(state(), spec(max_price_micros=HOLD))
    detail = "This cast may cost 2500 micros, more than max_price_micros 2499."
    expected = Refusal(code=Code.PRICE_CHANGED, detail=detail, price_micros=HOLD)
    assert refuse(state(), spec(max_price_micros=HOLD - 1)) == expected


def test_ones_own_spell_has_no_creators_price() -> None:
    (own,) = accept(state(), spec(creator_price_micros=9, creator_id=ACCOUNT))
    (other,) = accept(state(), spec(creator_price_micros=9, creator_id=CREATOR))
    assert (own.held_micros, other.held_micros) == (HOLD, HOLD + 9)


def test_over_the_rate_nothing_is_accepted() -> None:
    given = state(windows=[window(1, 10**9)])
    (verdict,) = judge(given, request(retry_after_s=3))
    refusal = Refusal(code=Code.RATE_LIMITED, detail="This key is over its rate limit.", retry_after_s=3)
    assert verdict == Judged(results=(refusal,))
    assert (given.windows[0].held_micros, given.accounts[0].open_casts) == (0, 0)


@pytest.mark.parametrize(
    ("given", "scope", "limit"),
    [
        ({"accounts": [account(open_casts=4, open_casts_max=4)]}, "account", 4),
        ({"keys": [key(open_casts=3, open_casts_max=3)]}, "key", 3),
        ({"keys": [key(open_casts=7, open_casts_max=3)]}, "key", 3),
        ({"accounts": [account(open_casts=9, open_casts_max=4)], "keys": [key(open_casts_max=0)]}, "account", 4),
    ],
)
def test_open_casts_are_bounded_by_account_and_key(given: dict[str, object], scope: str, limit: int) -> None:
    detail = f"This {scope} has {limit} open casts, its limit. Wait for some to end."
    assert refuse(state(**given)) == Refusal(code=Code.TOO_MANY_OPEN_CASTS, detail=detail, retry_after_s=1)


def test_the_bound_that_is_shown_is_the_keys_where_it_has_one() -> None:
    accounts, keys = [account(open_casts=5, open_casts_max=9)], [key(open_casts=2, open_casts_max=4)]
    bounded = accept(state(accounts=accounts, keys=keys), spec(), spec())
    assert [(one.open_casts, one.open_casts_max) for one in bounded] == [(3, 4), (4, 4)]
    assert accounts[0].open_casts == 7
    (unbounded,) = accept(state(accounts=[account(open_casts=5, open_casts_max=6)], keys=[key(open_casts=2)]))
    assert (unbounded.open_casts, unbounded.open_casts_max) == (6, 6)


def test_a_full_queue_refuses_its_pool_alone() -> None:
    full = terms(full_pools=frozenset({Pool.LARGE}))
    assert accept(state(), terms=full)
    detail = "The queue of the pool 'large' is full. Nothing was held."
    refusal = Refusal(code=Code.QUEUE_FULL, detail=detail, retry_after_s=1)
    assert refuse(state(), spec(pool=Pool.LARGE), terms=full) == refusal


def test_what_is_wrong_is_said_in_one_order() -> None:
    """Each row mends what the row before was refused for."""
    accounts = [account(metered=False, open_casts_max=0)]
    cast, full = spec(max_price_micros=1), terms(full_pools=frozenset({Pool.DEFAULT}))
    order = [
        ({"windows": [window(1, 0)], "accounts": accounts}, cast, 1, Code.BUDGET_EXCEEDED),
        ({"accounts": accounts}, cast, 1, Code.PAYMENT_REQUIRED),
        ({"accounts": [account(open_casts_max=0)]}, cast, 1, Code.PRICE_CHANGED),
        ({"accounts": [account(open_casts_max=0)]}, spec(), 1, Code.RATE_LIMITED),
        ({"accounts": [account(open_casts_max=0)]}, spec(), None, Code.TOO_MANY_OPEN_CASTS),
        ({}, spec(), None, Code.QUEUE_FULL),
    ]
    for given, asked, retry_after_s, code in order:
        (verdict,) = judge(state(**given), request(asked, retry_after_s=retry_after_s), terms=full)
        assert isinstance(verdict, Judged)
        assert isinstance(verdict.results[0], Refusal)
        assert verdict.results[0].code is code


# The wire and idempotency


@pytest.mark.parametrize(("pool", "field"), [(Pool.DEFAULT, "on_wire_default"), (Pool.LARGE, "on_wire_large")])
def test_an_account_has_its_share_of_each_pools_wire(pool: Pool, field: str) -> None:
    taken = account(**{field: ON_WIRE_PER_ACCOUNT_MAX - 2})
    found = accept(state(accounts=[taken]), *[spec(pool=pool)] * 4)
    assert [one.on_wire for one in found] == [True, True, False, False]
    assert sorted((taken.on_wire_default, taken.on_wire_large)) == [0, ON_WIRE_PER_ACCOUNT_MAX]
    other_pool = Pool.LARGE if pool is Pool.DEFAULT else Pool.DEFAULT
    (elsewhere,) = accept(state(accounts=[account(**{field: ON_WIRE_PER_ACCOUNT_MAX})]), spec(pool=other_pool))
    assert elsewhere.on_wire


REUSED = Refusal(
    code=Code.IDEMPOTENCY_KEY_REUSED,
    detail="This Idempotency-Key was used with another request. Use a new key for a new request.",
)


def test_a_remembered_request_is_replayed_and_another_under_its_key_refused() -> None:
    before = IdempotencyState(account_id=ACCOUNT, mode=Mode.LIVE, key="k", request_hash=b"h", cast_ids=(OTHER,))
    foreign = IdempotencyState(account_id=OTHER, mode=Mode.LIVE, key="theirs", request_hash=b"h", cast_ids=(OTHER,))
    given = state(idempotency=[before, foreign], windows=[window(1, 0)])
    same, changed = (request(idempotency_key="k", request_hash=text) for text in (b"h", b"x"))
    assert judge(given, same, changed) == [Replayed(cast_ids=(OTHER,)), REUSED]
    (verdict,) = judge(given, request(idempotency_key="theirs", request_hash=b"h"))
    assert isinstance(verdict, Judged)


def test_the_second_of_two_equals_in_a_batch_gets_the_casts_of_the_first() -> None:
    asked = request(spec(), spec(), idempotency_key="k", request_hash=b"h")
    first, second, third = judge(state(windows=[window(1, HOLD)]), asked, asked, request())
    assert isinstance(first, Judged)
    accepted, refused = first.results
    assert isinstance(accepted, Accepted)
    assert isinstance(refused, Refusal)
    assert second == Replayed(cast_ids=(accepted.cast_id, NO_CAST))
    assert isinstance(third, Judged)
    changed = msgspec.structs.replace(asked, request_hash=b"x")
    assert judge(state(), asked, changed)[1] == REUSED


def test_a_replay_has_a_place_for_casts_that_were_refused_before_they_came_here() -> None:
    asked = msgspec.structs.replace(
        request(spec(), spec(), idempotency_key="k", request_hash=b"h"), places=(1, 3), sent_count=5
    )
    first, second = judge(state(windows=[window(1, HOLD)]), asked, asked)
    assert isinstance(first, Judged)
    accepted, _refused = first.results
    assert isinstance(accepted, Accepted)
    assert second == Replayed(cast_ids=(NO_CAST, accepted.cast_id, NO_CAST, NO_CAST, NO_CAST))


def test_what_was_refused_whole_is_not_remembered() -> None:
    asked = request(idempotency_key="k", request_hash=b"h")
    first, second = judge(state(windows=[window(1, 0)]), asked, asked)
    assert first == second
    assert isinstance(first, Judged)


def test_casts_without_a_key_are_never_replays_of_each_other() -> None:
    first, second = judge(state(), request(request_hash=b"h"), request(request_hash=b"h"))
    assert isinstance(first, Judged)
    assert isinstance(second, Judged)


@pytest.mark.parametrize("deadline_ms", [0, -1, 24 * 60 * 60 * 1000 + 1])
def test_a_deadline_the_edge_should_have_refused_is_an_impossible_state(deadline_ms: int) -> None:
    with pytest.raises(AssertionError):
        judge(state(), request(spec(deadline_ms=deadline_ms)))


@pytest.mark.parametrize("deadline_ms", [1, 24 * 60 * 60 * 1000])
def test_the_shortest_and_the_longest_deadline(deadline_ms: int) -> None:
    assert accept(state(), spec(deadline_ms=deadline_ms))
