"""The steps of giving a creator an account at Stripe, around each request to it: one account, whoever asks.

The row is there before Stripe is asked, and says under which key. No transaction is open while Stripe is asked, so each
step is a flow of its own, and each may run twice.
"""

from datetime import datetime
from uuid import UUID

from domain.flow.audit import audit
from domain.flow.creation import lock_active_account
from domain.model.audit import PLATFORM, Action, Actor
from domain.model.payouts import PayoutAccount
from domain.model.stripe_money import ConnectedAccount
from domain.store import identity
from domain.store import payout_accounts as store
from domain.store.connection import Connection


async def begin_onboarding(conn: Connection, *, account_id: UUID, actor: Actor) -> PayoutAccount:
    """Return who the creator is at Stripe so far, with a row to remember it in. Needs Role.ENGINE.

    Raises RefusedError: not_found, forbidden for a suspended account.
    """
    await lock_active_account(conn, account_id=account_id)
    now = await identity.instant_read(conn)
    is_new = await store.account_ensure(conn, account_id=account_id, now=now)
    account = await _get(conn, account_id)
    if is_new:
        action = Action.PAYOUT_ACCOUNT_CREATE
        await audit(conn, actor, action, account_id=account_id, target_id=account_id, after=account, now=now)
    return account


async def keep_connected(conn: Connection, *, account_id: UUID, stripe_account_id: str) -> PayoutAccount:
    """Remember the account Stripe made; one that somebody remembered meanwhile stays. Return who the creator is."""
    await identity.account_lock(conn, account_id=account_id)
    now = await identity.instant_read(conn)
    await store.connected_set(conn, account_id=account_id, stripe_account_id=stripe_account_id, now=now)
    return await _get(conn, account_id)


async def begin_anew(conn: Connection, account: PayoutAccount) -> PayoutAccount:
    """Take the next key, for an account that is not at Stripe: its key has an answer that helps nobody, or it is gone.

    Of two who do it one does; return who the creator is by now.
    """
    await identity.account_lock(conn, account_id=account.account_id)
    now = await identity.instant_read(conn)
    await store.epoch_raise(conn, account, now=now)
    return await _get(conn, account.account_id)


async def follow_connected(conn: Connection, found: ConnectedAccount, *, asked_at: datetime) -> PayoutAccount | None:
    """Apply that Stripe, asked at `asked_at`, said an account is so. Needs Role.ENGINE.

    None: it is none of ours, and nothing is done. Twice changes nothing, and neither does an old answer. `asked_at`
    comes from Postgres' clock, read before Stripe was asked.
    """
    account_id = await store.account_of_connected(conn, stripe_account_id=found.id)
    if account_id is None:
        return None
    await identity.account_lock(conn, account_id=account_id)
    before = await _get(conn, account_id)
    await store.account_update(conn, account_id, found, asked_at=asked_at)
    after = await _get(conn, account_id)
    action = Action.PAYOUT_ACCOUNT_UPDATE
    await audit(
        conn, PLATFORM, action, account_id=account_id, target_id=account_id, before=before, after=after, now=asked_at
    )
    return after


async def _get(conn: Connection, account_id: UUID) -> PayoutAccount:
    account = await store.account_get(conn, account_id=account_id)
    assert account is not None, "begin_onboarding made it, and it stays"
    return account
