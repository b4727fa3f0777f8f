"""Change what an API key may do, and how much of it."""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.flow.create_key import acting_key
from domain.flow.creation import lock_active_account
from domain.model.audit import Action, Actor
from domain.model.errors import Code, refuse
from domain.model.key_rules import ACCOUNT_SCOPES, KeyChange, changed, check_changed_by_key, check_given, check_terms
from domain.model.modes import check_test_scopes
from domain.store import identity
from domain.store.connection import Connection


async def update_key(
    conn: Connection,
    *,
    account_id: UUID,
    prefix: str,
    change: KeyChange,
    changed_by: UUID | None,
    changed_with: str | None = None,
    actor: Actor,
    now: datetime,
) -> identity.ApiKey:
    """Change the key under the account lock and return it. The same again changes nothing. Needs Role.ENGINE.

    `changed_by` is the key that asks, None for a session, and `changed_with` the prefix of its secret. A key makes
    others only what it is itself, and never more of itself.
    Raises RefusedError: not found, conflict (revoked), validation, forbidden, unauthorized.
    """
    await lock_active_account(conn, account_id=account_id)
    key = await living_key(conn, account_id=account_id, prefix=prefix)
    terms = changed(key.terms, change)
    # What is not changed may be as it is: an expired key can be renamed.
    check_terms(
        terms if change.expires_at is not msgspec.UNSET else msgspec.structs.replace(terms, expires_at=None), now
    )
    check_test_scopes(key.mode, terms.scopes)
    if changed_by is None:
        check_given(terms.scopes - key.terms.scopes, ACCOUNT_SCOPES)
    else:
        changer = await acting_key(conn, account_id=account_id, key_id=changed_by, asked_with=changed_with, now=now)
        check_changed_by_key(key.terms, terms, changer.terms)
    name = key.name if isinstance(change.name, msgspec.UnsetType) else change.name
    done = await identity.key_update(conn, account_id=account_id, key_id=key.id, name=name, terms=terms)
    assert done, "it was not revoked, and the account is locked"
    after = await living_key(conn, account_id=account_id, prefix=prefix)
    await audit(
        conn, actor, Action.KEY_UPDATE, account_id=account_id, target_id=key.id, before=key, after=after, now=now
    )
    return after


async def living_key(conn: Connection, *, account_id: UUID, prefix: str) -> identity.ApiKey:
    """Return the account's key of this prefix. RefusedError: not found, conflict when it is revoked."""
    key = await identity.key_by_prefix(conn, account_id=account_id, prefix=prefix)
    if key is None:
        raise refuse(Code.NOT_FOUND, "This account has no key of that prefix.")
    if key.revoked_at is not None:
        raise refuse(Code.CONFLICT, "This key is revoked, for good. Make a new one.")
    return key
