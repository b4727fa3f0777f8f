"""Plans, and what an account's subscription means for its casts. Pure.

Stripe's word for the subscription is followed, not judged again; what is ours is how long casts go on although a
payment failed, and what the account is told.
"""

import enum
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from domain.model.stripe_objects import Subscription


class Plan(enum.StrEnum):
    """What an account is on."""

    FREE = "free"
    PRO = "pro"
    ENTERPRISE = "enterprise"


# Words of Stripe's under which something is owed or paid. Of these a payment has failed in the last two.
IN_FORCE: Final = frozenset({"trialing", "active", "past_due", "unpaid"})
FAILING: Final = frozenset({"past_due", "unpaid"})
# The best first: of several subscriptions of one customer the account has what the best one gives.
_RANK: Final = {
    word: rank
    for rank, word in enumerate(
        ("active", "trialing", "past_due", "unpaid", "paused", "incomplete", "incomplete_expired", "canceled")
    )
}


class PlanPrices(msgspec.Struct, frozen=True, kw_only=True):
    """Stripe's ids of the prices that are subscribed to; None: there is none of that plan."""

    pro: str | None = None
    enterprise: str | None = None

    def of(self, plan: Plan) -> str | None:
        """Return the price of a plan."""
        return {Plan.FREE: None, Plan.PRO: self.pro, Plan.ENTERPRISE: self.enterprise}[plan]

    def plan_of(self, subscription: Subscription) -> Plan:
        """Return what a subscription gives: by its price, or, where the operator has new prices, as it was sold."""
        for plan in (Plan.ENTERPRISE, Plan.PRO):
            if subscription.price_id is not None and subscription.price_id == self.of(plan):
                return plan
        return Plan.ENTERPRISE if subscription.metadata.get("plan") == Plan.ENTERPRISE else Plan.PRO


class Billing(msgspec.Struct, frozen=True, kw_only=True):
    """How an account pays, as Stripe last said."""

    account_id: UUID
    stripe_customer_id: str | None
    stripe_subscription_id: str | None
    status: str
    plan: Plan
    stripe_price_id: str | None
    current_period_end: datetime | None
    ends_at: datetime | None
    grace_until: datetime | None
    unpaid_invoices: tuple[str, ...]
    checkout_session_id: str | None
    asked_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def is_subscribed(self) -> bool:
        """Whether there is a subscription that another one would be one too many beside."""
        return self.status in IN_FORCE or self.status == "paused"

    def may_meter(self, now: datetime) -> bool:
        """Whether metered casts are accepted: a subscription in force, and nothing overdue for too long."""
        return self.status in IN_FORCE and (self.grace_until is None or now < self.grace_until)


class Change(enum.StrEnum):
    """What an account is told of."""

    PLAN = "plan"
    FAILED = "failed"
    """A payment failed for the first time since the last one that did not."""
    ENDED = "ended"
    """The grace is over."""
    RESTORED = "restored"


def best(subscriptions: Sequence[Subscription]) -> Subscription | None:
    """Return the subscription that counts of a customer's: the best, and of equals the newest."""
    ranked = sorted(subscriptions, key=lambda each: each.created_at, reverse=True)
    return min(ranked, key=lambda each: _RANK.get(each.status, len(_RANK)), default=None)


def followed(
    before: Billing,
    subscriptions: Sequence[Subscription],
    prices: PlanPrices,
    *,
    grace: timedelta,
    asked_at: datetime,
) -> Billing:
    """Return how the account pays now that Stripe, asked at `asked_at`, said it has these subscriptions.

    An answer to an earlier question than the last one changes nothing.
    """
    if before.asked_at is not None and asked_at <= before.asked_at:
        return before
    current = best(subscriptions)
    if current is None:
        after = msgspec.structs.replace(before, status="none" if before.status == "none" else "canceled")
    else:
        after = msgspec.structs.replace(
            before,
            stripe_subscription_id=current.id,
            status=current.status,
            stripe_price_id=current.price_id,
            current_period_end=current.current_period_end,
            ends_at=current.ends_at,
            plan=prices.plan_of(current),
            # The page that led here is done with; one that is open beside an ended subscription is not.
            checkout_session_id=None if current.status in IN_FORCE else before.checkout_session_id,
        )
    if after.status not in IN_FORCE:
        after = msgspec.structs.replace(after, plan=Plan.FREE, ends_at=None)
    return _with_grace(msgspec.structs.replace(after, asked_at=asked_at), grace=grace, now=asked_at)


def with_invoice(before: Billing, invoice_id: str, *, is_unpaid: bool, grace: timedelta, now: datetime) -> Billing:
    """Return how the account pays now that an invoice could not be collected, or is no longer owed."""
    others = tuple(each for each in before.unpaid_invoices if each != invoice_id)
    after = msgspec.structs.replace(before, unpaid_invoices=(*others, invoice_id) if is_unpaid else others)
    return _with_grace(after, grace=grace, now=now)


def _with_grace(billing: Billing, *, grace: timedelta, now: datetime) -> Billing:
    """Let the grace begin with the first failure, last through further ones, and end with what is paid."""
    if billing.status not in FAILING and not billing.unpaid_invoices:
        return msgspec.structs.replace(billing, grace_until=None)
    return msgspec.structs.replace(billing, grace_until=billing.grace_until or now + grace)


def changes(before: Billing, after: Billing) -> tuple[Change, ...]:
    """Return what the account is told of."""
    found: list[Change] = []
    if before.plan is not after.plan:
        found.append(Change.PLAN)
    if before.grace_until is None and after.grace_until is not None:
        found.append(Change.FAILED)
    if before.grace_until is not None and after.grace_until is None and after.status in IN_FORCE:
        found.append(Change.RESTORED)
    return tuple(found)
