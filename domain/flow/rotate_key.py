"""Give an API key another secret; the row, and with it budgets, counters and casts, stays."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.flow.create_key import acting_key, has_own_budget
from domain.flow.creation import IdempotentCall, lock_active_account, made_before, remember
from domain.flow.update_key import living_key
from domain.model.api_key import mode_of
from domain.model.audit import Action, Actor
from domain.model.errors import Code, refuse
from domain.model.key_rules import KeyScope, check_taken_by_key
from domain.store import identity
from domain.store.connection import Connection


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """A new secret for the key `prefix` names. `asked_by` is the key that asks, None for a session or the operator."""

    account_id: UUID
    prefix: str
    asked_by: UUID | None
    asked_with: str | None = None
    """The prefix of the secret that key asks with."""
    new_prefix: str
    new_secret_hash: str
    grace_s: int
    """How long the secret of now stays good; 0 ends it at once."""


class RotatedKey(msgspec.Struct, frozen=True, kw_only=True):
    """The key as it is now. `replayed`: an earlier call rotated it, and its secret is gone."""

    key: identity.ApiKey
    replayed: bool


async def rotate_key(
    conn: Connection, rotation: Rotation, *, actor: Actor, call: IdempotentCall | None = None
) -> RotatedKey:
    """Rotate under the account lock; the same call again returns the key of the first. Needs Role.ENGINE.

    A secret in its grace that is not the one of now ends at once: never more than two are good. A key may rotate
    itself, and with `keys:write` such as may do no more than itself.
    Raises RefusedError: not found, conflict (revoked, expired, named by an earlier prefix), forbidden, unauthorized,
    idempotency_key_reused.
    """
    account_id = rotation.account_id
    await lock_active_account(conn, account_id=account_id)
    now = await identity.instant_read(conn)
    before = await made_before(conn, account_id=account_id, call=call)
    if before is not None:
        key = await identity.key_get(conn, account_id=account_id, key_id=before)
        if key is None:
            raise refuse(Code.IDEMPOTENCY_KEY_REUSED, "This Idempotency-Key was used to make something else.")
        return RotatedKey(key=key, replayed=True)
    key = await living_key(conn, account_id=account_id, prefix=rotation.prefix)
    await _check_asker(conn, rotation, key, now=now)
    _check_rotatable(key, rotation.prefix, now)
    assert mode_of(rotation.new_prefix) is key.mode, "a key is live or for tests, for good"
    done = await identity.key_rotate(
        conn,
        account_id=account_id,
        key_id=key.id,
        prefix=rotation.new_prefix,
        secret_hash=rotation.new_secret_hash,
        previous_until=now + timedelta(seconds=rotation.grace_s) if rotation.grace_s else None,
        now=now,
    )
    assert done, "it was not revoked, and the account is locked"
    await remember(conn, account_id=account_id, call=call, made_id=key.id, now=now)
    after = await living_key(conn, account_id=account_id, prefix=rotation.new_prefix)
    await audit(
        conn, actor, Action.KEY_ROTATE, account_id=account_id, target_id=key.id, before=key, after=after, now=now
    )
    return RotatedKey(key=after, replayed=False)


async def _check_asker(conn: Connection, rotation: Rotation, key: identity.ApiKey, *, now: datetime) -> None:
    if rotation.asked_by is None:
        return
    asker = await acting_key(
        conn, account_id=rotation.account_id, key_id=rotation.asked_by, asked_with=rotation.asked_with, now=now
    )
    if asker.id == key.id:
        return
    if KeyScope.KEYS_WRITE not in asker.scopes:
        raise refuse(Code.FORBIDDEN, "This key lacks the scope 'keys:write', so it may rotate itself alone.")
    has_budget = await has_own_budget(conn, account_id=rotation.account_id, key_id=asker.id, now=now)
    check_taken_by_key(key.terms, asker.terms, taker_has_budget=has_budget)


def _check_rotatable(key: identity.ApiKey, prefix: str, now: datetime) -> None:
    if not key.is_alive(now):
        raise refuse(Code.CONFLICT, "This key has expired. Set a later `expires_at` first, or make a new key.")
    if key.prefix != prefix:
        # A second rotation by mistake would end the secret that is still in use.
        raise refuse(
            Code.CONFLICT, f"This key was rotated and is called {key.prefix} now. Rotate that, if you mean it."
        )
