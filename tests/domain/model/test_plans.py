"""What a subscription means for casts, case by case."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from domain.model.plans import Billing, Change, Plan, PlanPrices, best, changes, followed, with_invoice
from domain.model.stripe_objects import Subscription

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
GRACE = timedelta(days=7)
PRICES = PlanPrices(pro="price_pro", enterprise="price_big")
NOBODY = Billing(
    account_id=UUID(int=1),
    stripe_customer_id="cus_1",
    stripe_subscription_id=None,
    status="none",
    plan=Plan.FREE,
    stripe_price_id=None,
    current_period_end=None,
    ends_at=None,
    grace_until=None,
    unpaid_invoices=(),
    checkout_session_id=None,
    asked_at=None,
    created_at=NOW,
    updated_at=NOW,
)


def subscription(status: str = "active", **changed: object) -> Subscription:
    base = Subscription(
        id="sub_1",
        customer_id="cus_1",
        status=status,
        created_at=NOW - timedelta(days=3),
        item_id="si_1",
        price_id="price_pro",
        current_period_end=NOW + timedelta(days=27),
        ends_at=None,
        is_collecting=True,
        latest_invoice_id=None,
        metadata={},
    )
    return msgspec.structs.replace(base, **changed)


def follow(before: Billing, *found: Subscription, at: datetime = NOW) -> Billing:
    return followed(before, found, PRICES, grace=GRACE, asked_at=at)


@pytest.mark.parametrize(
    ("status", "plan", "meters"),
    [
        ("active", Plan.PRO, True),
        ("trialing", Plan.PRO, True),
        ("past_due", Plan.PRO, True),
        ("unpaid", Plan.PRO, True),
        ("paused", Plan.FREE, False),
        ("incomplete", Plan.FREE, False),
        ("incomplete_expired", Plan.FREE, False),
        ("canceled", Plan.FREE, False),
    ],
)
def test_each_word_of_stripes(status: str, plan: Plan, meters: bool) -> None:  # noqa: FBT001  # a column of the table
    after = follow(NOBODY, subscription(status))
    assert (after.status, after.plan, after.may_meter(NOW)) == (status, plan, meters)
    assert (after.grace_until == NOW + GRACE) == (status in {"past_due", "unpaid"})


def test_nobody_who_never_subscribed_has_canceled() -> None:
    assert follow(NOBODY).status == "none"
    assert follow(follow(NOBODY, subscription()), at=NOW + GRACE).status == "canceled"


def test_grace_begins_once_and_is_not_prolonged_by_further_failures() -> None:
    failing = follow(NOBODY, subscription("past_due"))
    later = follow(failing, subscription("unpaid"), at=NOW + timedelta(days=5))
    assert later.grace_until == failing.grace_until == NOW + GRACE
    assert later.may_meter(NOW + GRACE - timedelta(microseconds=1))
    assert not later.may_meter(NOW + GRACE)


def test_a_payment_ends_it_and_the_next_failure_begins_anew() -> None:
    failing = follow(NOBODY, subscription("past_due"))
    paid = follow(failing, subscription("active"), at=NOW + timedelta(days=9))
    assert (paid.grace_until, paid.may_meter(NOW + timedelta(days=9))) == (None, True)
    again = follow(paid, subscription("past_due"), at=NOW + timedelta(days=20))
    assert again.grace_until == NOW + timedelta(days=27)


def test_an_older_answer_changes_nothing() -> None:
    newer = follow(NOBODY, subscription("active"))
    for at in (NOW, NOW - timedelta(seconds=1)):
        assert follow(newer, subscription("canceled"), at=at) is newer


def test_the_best_of_several_counts_and_of_equals_the_newest() -> None:
    old = subscription("canceled", id="sub_0", created_at=NOW)
    good = subscription("active", id="sub_2", created_at=NOW - timedelta(days=9))
    newest = subscription("active", id="sub_3", created_at=NOW - timedelta(days=1))
    assert best([old, good, newest]) == newest
    assert best([subscription("a_word_of_tomorrow"), old]) == old
    assert best([]) is None


@pytest.mark.parametrize(
    ("found", "plan"),
    [
        (subscription(price_id="price_big"), Plan.ENTERPRISE),
        (subscription(price_id="price_old"), Plan.PRO),
        (subscription(price_id="price_old", metadata={"plan": "enterprise"}), Plan.ENTERPRISE),
        (subscription(price_id=None), Plan.PRO),
        (subscription(price_id="price_pro", metadata={"plan": "enterprise"}), Plan.PRO),
    ],
)
def test_which_plan_it_is(found: Subscription, plan: Plan) -> None:
    assert follow(NOBODY, found).plan is plan


def test_no_price_set_is_nobodys_price() -> None:
    none = PlanPrices(pro=None, enterprise=None)
    assert none.plan_of(subscription(price_id=None)) is Plan.PRO
    assert none.of(Plan.FREE) is None


def test_the_page_that_led_to_it_is_done_with() -> None:
    waiting = msgspec.structs.replace(NOBODY, checkout_session_id="cs_1")
    assert follow(waiting, subscription()).checkout_session_id is None
    assert follow(waiting, subscription("canceled")).checkout_session_id == "cs_1"


def test_when_it_ends_is_shown_while_it_lasts() -> None:
    ending = follow(NOBODY, subscription(ends_at=NOW + GRACE))
    assert (ending.ends_at, ending.may_meter(NOW)) == (NOW + GRACE, True)
    assert follow(ending, subscription("canceled", ends_at=NOW + GRACE), at=NOW + GRACE).ends_at is None


def test_an_unpaid_invoice_of_usage_begins_a_grace_too() -> None:
    subscribed = follow(NOBODY, subscription())
    owing = with_invoice(subscribed, "in_1", is_unpaid=True, grace=GRACE, now=NOW)
    twice = with_invoice(owing, "in_1", is_unpaid=True, grace=GRACE, now=NOW + timedelta(days=2))
    both = with_invoice(twice, "in_2", is_unpaid=True, grace=GRACE, now=NOW + timedelta(days=3))
    assert (both.unpaid_invoices, both.grace_until) == (("in_1", "in_2"), NOW + GRACE)
    assert follow(both, subscription("active"), at=NOW + timedelta(days=4)).grace_until == NOW + GRACE
    one_paid = with_invoice(both, "in_1", is_unpaid=False, grace=GRACE, now=NOW + timedelta(days=5))
    assert (one_paid.unpaid_invoices, one_paid.grace_until) == (("in_2",), NOW + GRACE)
    paid = with_invoice(one_paid, "in_2", is_unpaid=False, grace=GRACE, now=NOW + timedelta(days=6))
    assert (paid.unpaid_invoices, paid.grace_until) == ((), None)


def test_what_an_account_is_told_of() -> None:
    active = follow(NOBODY, subscription())
    failing = follow(active, subscription("past_due"), at=NOW + GRACE)
    worse = follow(failing, subscription("unpaid"), at=NOW + 2 * GRACE)
    paid = follow(worse, subscription("active"), at=NOW + 3 * GRACE)
    gone = follow(failing, subscription("canceled"), at=NOW + 3 * GRACE)
    assert changes(NOBODY, active) == (Change.PLAN,)
    assert changes(active, failing) == (Change.FAILED,)
    assert changes(failing, worse) == ()
    assert changes(worse, paid) == (Change.RESTORED,)
    assert changes(failing, gone) == (Change.PLAN,)


def test_beside_which_another_would_be_one_too_many() -> None:
    having = {word for word in ("active", "trialing", "past_due", "unpaid", "paused", "incomplete", "canceled", "none")
              if msgspec.structs.replace(NOBODY, status=word).is_subscribed}  # fmt: skip
    assert having == {"active", "trialing", "past_due", "unpaid", "paused"}
