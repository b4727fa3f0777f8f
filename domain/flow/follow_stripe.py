"""What Stripe says of an account's subscription and invoices becomes what its casts may, and what it is told."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from domain.flow.audit import audit
from domain.model.audit import PLATFORM, Action, Actor
from domain.model.billing_events import billing_events
from domain.model.plans import Billing, Change, PlanPrices, changes, followed, with_invoice
from domain.model.stripe_objects import Subscription
from domain.store import billing as store
from domain.store import identity
from domain.store.connection import Connection
from domain.store.events import events_insert

GRACES_AT_ONCE_MAX: Final = 100


async def follow_subscriptions(
    conn: Connection,
    *,
    customer_id: str,
    found: Sequence[Subscription],
    prices: PlanPrices,
    grace: timedelta,
    asked_at: datetime,
    actor: Actor = PLATFORM,
) -> Billing | None:
    """Apply that Stripe, asked at `asked_at`, said the customer has these subscriptions. Needs Role.ENGINE.

    None: the customer is none of ours, and nothing is done. Twice changes nothing, and neither does an old answer.
    `asked_at` comes from Postgres' clock, read before Stripe was asked; it is also the instant of the change.
    """
    before = await _locked(conn, customer_id)
    if before is None:
        return None
    after = followed(before, found, prices, grace=grace, asked_at=asked_at)
    await apply_billing(conn, before, after, actor=actor, now=asked_at)
    return after


async def follow_invoice(
    conn: Connection, *, customer_id: str, invoice_id: str, is_unpaid: bool, grace: timedelta, now: datetime
) -> Billing | None:
    """Apply that an invoice of the customer could not be collected, or is paid or not owed any more.

    `is_unpaid`: open, and Stripe tried to collect it. Returns as `follow_subscriptions`. Needs Role.ENGINE.
    """
    before = await _locked(conn, customer_id)
    if before is None:
        return None
    after = with_invoice(before, invoice_id, is_unpaid=is_unpaid, grace=grace, now=now)
    await apply_billing(conn, before, after, actor=PLATFORM, now=now)
    return after


async def graces_over(conn: Connection, *, now: datetime) -> list[UUID]:
    """Return accounts whose metered casts are to end, some of them."""
    return await store.grace_over(conn, now=now, limit=GRACES_AT_ONCE_MAX)


async def end_grace(conn: Connection, *, account_id: UUID, now: datetime) -> bool:
    """Accept no more metered casts of an account whose grace is over, and tell it; False when it is not (any more)."""
    await identity.account_lock(conn, account_id=account_id)
    billing = await store.billing_get(conn, account_id=account_id)
    account = await store.account_get(conn, account_id=account_id)
    if billing is None or account is None or not account.subscription_active or billing.may_meter(now):
        return False
    await store.account_set(conn, account_id=account_id, subscription_active=False, plan=None)
    await events_insert(conn, billing_events(billing, (Change.ENDED,), now=now))
    return True


async def apply_billing(conn: Connection, before: Billing, after: Billing, *, actor: Actor, now: datetime) -> None:
    """Write how the account pays, with everything that follows from it. Needs the account's lock and Role.ENGINE."""
    if before == after:
        return
    account = await store.account_get(conn, account_id=after.account_id)
    assert account is not None, "it is locked"
    told = changes(before, after)
    if account.subscription_active and after.grace_until is not None and after.grace_until <= now:
        told = (*told, Change.ENDED)
    await store.billing_update(conn, after, now=now)
    await store.account_set(
        conn,
        account_id=after.account_id,
        subscription_active=after.may_meter(now),
        plan=after.plan if Change.PLAN in told else None,
    )
    if told:
        await events_insert(conn, billing_events(after, told, now=now))
    await audit(
        conn,
        actor,
        Action.BILLING_UPDATE,
        account_id=after.account_id,
        target_id=after.account_id,
        before=before,
        after=after,
        now=now,
    )


async def _locked(conn: Connection, customer_id: str) -> Billing | None:
    """Lock the account of a customer and return how it pays; None of a customer that is none of ours."""
    account_id = await store.account_of_customer(conn, customer_id=customer_id)
    if account_id is None:
        return None
    await identity.account_lock(conn, account_id=account_id)
    return await store.billing_get(conn, account_id=account_id)
