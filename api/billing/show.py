"""Plans and billing, put together from the rows, the price book and Stripe's prices."""

from typing import Final
from uuid import UUID

from api.billing.views import BillingView, FreeView, PlanView
from api.services import Services
from domain.model.periods import Period, resets_at
from domain.model.plans import Plan
from domain.store import billing
from domain.store.connection import account_transaction
from domain.store.prices import price_of_account

CURRENCY: Final = "usd"
_NAMES: Final = {Plan.FREE: "Free", Plan.PRO: "Pro", Plan.ENTERPRISE: "Enterprise"}


async def plan_views(services: Services) -> list[PlanView]:
    """Return the plans; what Stripe does not say at the moment is left out."""
    terms = services.batcher.terms
    views: list[PlanView] = []
    for plan in Plan:
        fee = None if services.fees is None else await services.fees.of(plan)
        views.append(
            PlanView(
                id=plan,
                name=_NAMES[plan],
                monthly_cents=0 if plan is Plan.FREE else None if fee is None else fee.amount_cents,
                currency=CURRENCY if fee is None else fee.currency,
                interval=None if fee is None else fee.interval,
                free_casts_per_month=services.settings.free_tier_runs_limit,
                metered=plan is not Plan.FREE,
                per_cast_micros=0 if terms is None else terms.price.per_cast_micros,
                per_gfuel_micros=0 if terms is None else terms.price.per_gfuel_micros,
                available=services.plan_prices.of(plan) is not None,
            )
        )
    return views


async def billing_view(services: Services, account_id: UUID) -> BillingView:
    """Return how the account pays."""
    now = services.now()
    async with account_transaction(services.app_pool, account_id) as connection:
        account = await billing.account_get(connection, account_id=account_id)
        known = await billing.billing_get(connection, account_id=account_id)
        month = await billing.month_get(connection, account_id=account_id, now=now)
        price = await price_of_account(connection, account_id=account_id)
    assert account is not None, "whoever asks has an account"
    if price is None and services.batcher.terms is not None:
        price = services.batcher.terms.price
    enabled = services.settings.stripe is not None
    free = services.settings.free_tier_runs_limit
    return BillingView(
        plan=account.plan,
        status="none" if known is None else known.status,
        billing_enabled=enabled and account.billing != "off",
        metered=account.subscription_active or account.billing == "off" or (account.billing == "auto" and not enabled),
        spend_paused=account.spend_paused,
        current_period_end=None if known is None else known.current_period_end,
        cancel_at_period_end=known is not None and known.ends_at is not None,
        ends_at=None if known is None else known.ends_at,
        payment_overdue=known is not None and known.grace_until is not None,
        grace_until=None if known is None else known.grace_until,
        free=FreeView(limit=free, used=month.free_taken, remaining=max(free - month.free_taken, 0)),
        spent_micros=month.spent_micros,
        held_micros=month.held_micros,
        resets_at=resets_at(Period.MONTHLY, now),
        per_cast_micros=0 if price is None else price.per_cast_micros,
        per_gfuel_micros=0 if price is None else price.per_gfuel_micros,
    )
