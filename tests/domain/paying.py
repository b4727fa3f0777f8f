"""Accounts that pay, for tests of billing."""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from domain.flow.follow_stripe import follow_subscriptions
from domain.model.plans import Billing, PlanPrices
from domain.model.stripe_objects import Subscription
from domain.store import billing
from domain.store.connection import Pool, transaction
from tests.domain.world import World

# Past, so that what is due then is due by any clock.
NOW: Final = datetime(2026, 11, 1, 12, tzinfo=UTC)
GRACE: Final = timedelta(days=7)
PRICES: Final = PlanPrices(pro="price_pro", enterprise="price_big")


def customer_of(account_id: UUID) -> str:
    return f"cus_{account_id.hex}"


def subscription(account_id: UUID, status: str = "active", **changed: object) -> Subscription:
    base = Subscription(
        id=f"sub_{account_id.hex}",
        customer_id=customer_of(account_id),
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


async def make_customer(world: World, pool: Pool, account_id: UUID | None = None) -> None:
    """Bill the account, which is a customer from now on, and give it a user with an address."""
    account_id = account_id or world.account_id
    await world.rows("UPDATE accounts SET billing = 'on', subscription_active = false WHERE id = %s", account_id)
    await world.rows(
        "INSERT INTO users (id, account_id, email) VALUES (gen_random_uuid(), %s, %s)",
        *(account_id, f"{account_id.hex}@example.com"),
    )
    async with transaction(pool) as connection:
        await billing.billing_ensure(connection, account_id=account_id, now=NOW)
        await billing.customer_set(connection, account_id=account_id, customer_id=customer_of(account_id), now=NOW)


async def follow(pool: Pool, world: World, *found: Subscription, at: datetime = NOW) -> Billing | None:
    async with transaction(pool) as connection:
        return await follow_subscriptions(
            connection,
            customer_id=customer_of(world.account_id),
            found=found,
            prices=PRICES,
            grace=GRACE,
            asked_at=at,
        )
