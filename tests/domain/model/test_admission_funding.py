"""Where the money of a cast comes from, as the decision sees it."""

from datetime import timedelta
from uuid import UUID

import msgspec
import pytest

from domain.model.admission import (
    FREE_FUEL_MAX,
    Accepted,
    CastSpec,
)
from domain.model.errors import Code, Refusal, Standing
from domain.model.funding import Funding, GrantPart
from domain.model.limits import CastLimits
from domain.model.periods import Period
from tests.domain.model.judging import NEXT_MONTH, accept, refuse, results, terms
from tests.domain.model.states import (
    ACCOUNT,
    HOLD,
    KEY,
    NOW,
    OTHER,
    SPELL,
    TERMS,
    account,
    grant,
    month,
    spec,
    state,
    window,
)


@pytest.mark.parametrize(
    ("cast", "used", "funding"),
    [
        (spec(), {}, Funding.FREE),
        (spec(), {"free_used": 1, "free_held": 1}, Funding.FREE),
        (spec(), {"free_used": 2, "free_held": 1}, Funding.METERED),
        (spec(), {"free_used": 1, "free_held": 2}, Funding.METERED),
        (spec(), {"free_used": 9}, Funding.METERED),
        (spec(creator_price_micros=1), {}, Funding.METERED),
        (spec(creator_price_micros=1, creator_id=ACCOUNT), {}, Funding.FREE),
        (spec(limits=CastLimits(fuel=FREE_FUEL_MAX + 1)), {}, Funding.METERED),
        (spec(limits=CastLimits(fuel=FREE_FUEL_MAX)), {}, Funding.FREE),
    ],
)
def test_the_free_allowance_is_for_small_casts_at_platform_prices(
    cast: CastSpec, used: dict[str, int], funding: Funding
) -> None:
    (accepted,) = accept(state(months=[month(**used)]), cast, terms=terms(free_casts_per_month=3))
    assert (accepted.funding, accepted.grants) == (funding, ())


def test_the_free_allowance_is_counted_within_a_batch() -> None:
    found = accept(state(), *[spec()] * 3, terms=terms(free_casts_per_month=2))
    assert [one.funding for one in found] == [Funding.FREE, Funding.FREE, Funding.METERED]


def test_credits_pay_lowest_priority_first_then_what_expires_first_and_never_twice() -> None:
    soon, later = NOW + timedelta(milliseconds=1), NOW + timedelta(days=9)
    grants = [
        grant(1, 9_000, priority=2),
        grant(2, 700, expires_at=later),
        grant(3, 600, expires_at=soon, held_micros=100),
        grant(4, 5_000, expires_at=NOW),
        grant(5, 5_000, account_id=OTHER),
        grant(6, 300),
        grant(7, 400, held_micros=400, priority=0),
    ]
    first, second = accept(state(grants=grants), spec(), spec())
    assert [(part.grant_id.int, part.micros) for part in first.grants] == [(3, 500), (2, 700), (6, 300), (1, 1_000)]
    assert (first.funding, second.funding) == (Funding.CREDITS, Funding.CREDITS)
    assert second.grants == (GrantPart(grant_id=UUID(int=1), micros=HOLD),)
    assert {one.id.int: one.held_micros for one in grants} == {1: 3_500, 2: 700, 3: 600, 4: 0, 5: 0, 6: 300, 7: 400}


def test_credits_that_do_not_cover_the_whole_hold_are_left_alone() -> None:
    left = grant(1, HOLD - 1)
    (accepted,) = accept(state(grants=[left]))
    assert (accepted.funding, accepted.grants, left.held_micros) == (Funding.METERED, (), 0)


@pytest.mark.parametrize(
    ("fields", "code", "detail"),
    [
        (
            {"credits_ever": True, "plan": "free"},
            Code.INSUFFICIENT_CREDITS,
            "The credits left do not cover this cast. Buy credits.",
        ),
        (
            {"plan": "free"},
            Code.FREE_TIER_EXHAUSTED,
            "The free casts of this month are used up, or do not cover this cast. Upgrade to go on.",
        ),
        ({}, Code.PAYMENT_REQUIRED, "The subscription is not active. Check the payment method."),
    ],
)
def test_without_any_funding_the_402_says_what_to_do(fields: dict[str, object], code: Code, detail: str) -> None:
    assert refuse(state(accounts=[account(metered=False, **fields)])) == Refusal(code=code, detail=detail)


def test_where_nobody_is_billed_a_cast_is_unbilled_and_the_default_limit_holds_all_the_same() -> None:
    (accepted,) = accept(state(accounts=[account(unbilled=True)]))
    assert accepted.funding is Funding.UNBILLED
    used = month(spent_micros=300, held_micros=200)
    refused = refuse(
        state(accounts=[account(unbilled=True)], months=[used]), terms=terms(metered_limit_default_micros=499 + HOLD)
    )
    assert refused.code is Code.BUDGET_EXCEEDED


def test_what_costs_nothing_needs_no_funding() -> None:
    free_of_charge = msgspec.structs.replace(TERMS.price, per_cast_micros=0, per_gfuel_micros=0)
    given = state(accounts=[account(metered=False)], grants=[grant(1, 10)], months=[month()])
    (accepted,) = accept(given, terms=terms(price=free_of_charge, free_casts_per_month=1))
    assert (accepted.held_micros, accepted.funding, accepted.grants) == (0, Funding.METERED, ())


def test_metered_casts_of_an_account_without_a_budget_have_a_default_limit() -> None:
    used = month(spent_micros=300, held_micros=200)
    (accepted,) = accept(state(months=[used]), terms=terms(metered_limit_default_micros=500 + HOLD))
    assert accepted.budget is None
    assert used.held_micros == 200 + HOLD
    used = month(spent_micros=300, held_micros=200)
    standing = Standing(
        limit_id=None,
        scope="account",
        scope_id=ACCOUNT,
        period=Period.MONTHLY,
        limit_micros=499 + HOLD,
        spent_micros=300,
        held_micros=200,
        needed_micros=HOLD,
        resets_at=NEXT_MONTH,
    )
    detail = "The monthly account budget of 2999 micros has no room for 2500: 300 spent, 200 held."
    expected = Refusal(code=Code.BUDGET_EXCEEDED, detail=detail, limit=standing)
    assert refuse(state(months=[used]), terms=terms(metered_limit_default_micros=499 + HOLD)) == expected


@pytest.mark.parametrize(
    ("own", "accepted"),
    [
        (window(1, 10**9), True),
        (window(1, 10**9, period=Period.DAILY), True),
        (window(1, None), False),
        (window(1, 10**9, scope="key", scope_id=KEY), False),
        (window(1, 10**9, scope="spell", scope_id=SPELL), False),
    ],
)
def test_only_a_hard_budget_of_the_account_replaces_the_default_limit(own: object, *, accepted: bool) -> None:
    (result,) = results(state(windows=[own]), spec(), terms=terms(metered_limit_default_micros=1))
    assert isinstance(result, Accepted) is accepted
