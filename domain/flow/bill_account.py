"""The steps of buying around each request to Stripe: who pays, which page is open, and spending that is paused.

No transaction is open while Stripe is asked, so each step is a flow of its own, and each may run twice.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.flow.creation import lock_active_account
from domain.model.audit import Action, Actor
from domain.model.plans import Billing
from domain.store import billing as store
from domain.store import identity
from domain.store.connection import Connection


class Payer(msgspec.Struct, frozen=True, kw_only=True):
    """Who pays, and how so far."""

    handle: str
    email: str | None
    billing: Billing


async def begin_billing(conn: Connection, *, account_id: UUID) -> Payer:
    """Return who pays, with a row to remember it in. Needs Role.ENGINE.

    Raises RefusedError: not_found, forbidden for a suspended account.
    """
    await lock_active_account(conn, account_id=account_id)
    await store.billing_ensure(conn, account_id=account_id, now=await identity.instant_read(conn))
    billing = await store.billing_get(conn, account_id=account_id)
    payer = await store.payer_get(conn, account_id=account_id)
    assert billing is not None, "it was just made"
    assert payer is not None, "the account is locked"
    return Payer(handle=payer.handle, email=payer.email, billing=billing)


async def keep_customer(conn: Connection, *, account_id: UUID, customer_id: str, instead_of: str | None) -> str:
    """Remember who the account is at Stripe, in place of `instead_of`; return who it is.

    Where another was remembered meanwhile that one stays, so that an account never has two.
    """
    await identity.account_lock(conn, account_id=account_id)
    billing = await store.billing_get(conn, account_id=account_id)
    assert billing is not None, "begin_billing made it"
    if billing.stripe_customer_id is not None and billing.stripe_customer_id != instead_of:
        return billing.stripe_customer_id
    now = await identity.instant_read(conn)
    await store.customer_set(conn, account_id=account_id, customer_id=customer_id, now=now)
    return customer_id


async def keep_checkout(conn: Connection, *, account_id: UUID, session_id: str) -> str | None:
    """Remember the page that is open to subscribe; return the one before it, which the caller ends at Stripe."""
    await identity.account_lock(conn, account_id=account_id)
    billing = await store.billing_get(conn, account_id=account_id)
    assert billing is not None, "begin_billing made it"
    if billing.checkout_session_id == session_id:
        return None
    now = await identity.instant_read(conn)
    await store.checkout_set(conn, account_id=account_id, session_id=session_id, now=now)
    return billing.checkout_session_id


async def pause_spending(conn: Connection, *, account_id: UUID, paused: bool, actor: Actor, now: datetime) -> bool:
    """Stop or allow all casts of the account; False when it was so already. Needs Role.ENGINE.

    From the commit on casts are refused, or accepted again; open ones end as they would. Raises RefusedError:
    not_found, forbidden.
    """
    await lock_active_account(conn, account_id=account_id)
    if not await store.paused_set(conn, account_id=account_id, paused=paused):
        return False
    action = Action.SPENDING_PAUSE if paused else Action.SPENDING_RESUME
    await audit(conn, actor, action, account_id=account_id, target_id=account_id, now=now)
    return True
