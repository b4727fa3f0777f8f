"""Credits by the clock: what expired is taken, and what runs low is topped up."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from domain.flow import stripe_inbox
from domain.flow.apply_order import apply_order
from domain.flow.expire_credits import expire_credits
from domain.flow.start_top_up import start_top_up
from domain.model.credit_orders import Facts
from domain.model.stripe_events import StripeEvent
from domain.store import credit_grants, credit_orders, top_ups
from domain.store.connection import transaction
from gateways.metrics import Counter
from scheduler.jobs import Clockwork

ACCOUNTS_AT_ONCE_MAX: Final = 100
# Times that, a run: less than a slot's lease takes.
ROUNDS_MAX: Final = 50
ORDERS_AT_ONCE_MAX: Final = 1_000
# Stripe's page lasts a day.
PAGE_LASTS: Final = timedelta(hours=25)
_FIRST: Final = UUID(int=0)

EXPIRED: Final = Counter("spell_credits_expired_micros_total", "Credits that expired, in micros.")
TOP_UPS: Final = Counter("spell_credit_top_ups_total", "Automatic top-ups begun.")


async def expire(clockwork: Clockwork, now: datetime) -> str:
    """Take what is left of grants whose time is over, an account a transaction."""
    micros = 0
    for _ in range(ROUNDS_MAX):
        async with transaction(clockwork.pool) as connection:
            accounts = await credit_grants.accounts_expiring(connection, now=now, limit=ACCOUNTS_AT_ONCE_MAX)
        for account_id in accounts:
            async with transaction(clockwork.pool) as connection:
                micros += await expire_credits(connection, account_id=account_id, now=now)
        if len(accounts) < ACCOUNTS_AT_ONCE_MAX:
            break
    EXPIRED.inc(micros)
    return f"{micros} micros of credits expired"


async def look_at_orders(clockwork: Clockwork, now: datetime) -> str:
    """Have orders looked at whose page must be over and of which nothing was heard: the news may be lost.

    Once a day each. An order that never got a page, because somebody died on the way to it, is over as well.
    """
    async with transaction(clockwork.pool) as connection:
        waiting = await credit_orders.orders_waiting(connection, before=now - PAGE_LASTS, limit=ORDERS_AT_ONCE_MAX)
    for order_id, session in waiting:
        async with transaction(clockwork.pool) as connection:
            if session is None:
                await apply_order(connection, order_id=order_id, facts=Facts(payment="expired"), now=now)
            else:
                await stripe_inbox.receive(connection, _reminder(order_id, session, now), now=now)
    return f"{len(waiting)} orders wait for news"


def _reminder(order_id: UUID, session: str, now: datetime) -> StripeEvent:
    """Return news of our own: whoever works on it asks Stripe how the checkout stands, as after any other."""
    return StripeEvent(
        id=f"look_{order_id.hex}_{now:%Y%m%d}",
        type="checkout.session.expired",
        object_id=session,
        customer_id=None,
        connected_account_id=None,
        made_at=now,
    )


async def top_up(clockwork: Clockwork, now: datetime) -> str:
    """Begin the payment of each top-up that is due; without keys of Stripe there are none."""
    if not clockwork.billing:
        return "billing is off"
    begun, after = 0, _FIRST
    while True:
        async with transaction(clockwork.pool) as connection:
            accounts = await top_ups.accounts_low(connection, after=after, now=now, limit=ACCOUNTS_AT_ONCE_MAX)
        for account_id in accounts:
            async with transaction(clockwork.pool) as connection:
                order = await start_top_up(
                    connection,
                    account_id=account_id,
                    order_id=uuid4(),
                    credit_micros=clockwork.credit_micros,
                    now=now,
                )
            begun += order is not None
        if len(accounts) < ACCOUNTS_AT_ONCE_MAX:
            break
        after = accounts[-1]
    TOP_UPS.inc(begun)
    return f"{begun} top-ups begun"
