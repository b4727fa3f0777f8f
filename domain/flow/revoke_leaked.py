"""End the keys whose secrets stand where they should not: in a commit, a log, a message."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.model.api_key import prefix_of
from domain.model.audit import Action, Actor
from domain.store import identity
from domain.store.connection import Connection

# One verification takes about a millisecond of a transaction that must not idle for two seconds.
LEAKED_MAX: Final = 500


class LeakedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A real key whose secret was found. `revoked_now` is False when it had been revoked before."""

    key_id: UUID
    account_id: UUID
    handle: str
    prefix: str
    name: str
    revoked_now: bool


async def revoke_leaked(
    conn: Connection, texts: Sequence[str], *, actor: Actor, matches: Callable[[str, str], bool]
) -> list[LeakedKey]:
    """Revoke every key that one of `texts` opens, with all its secrets, and return them by prefix. Needs Role.ENGINE.

    `texts` are at most LEAKED_MAX whole keys (`domain.model.api_key.find_keys` finds them in any text);
    `matches(secret_hash, text)` verifies one. A text that only looks like a key, or whose secret is no longer good,
    revokes nothing. From the commit on the revoked ones cast nothing. Again changes nothing.
    """
    assert len(texts) <= LEAKED_MAX, "split them"
    by_prefix: dict[str, set[str]] = {}  # one may stand beside made-up ones of the same prefix
    for text in texts:
        if (prefix := prefix_of(text)) is not None:
            by_prefix.setdefault(prefix, set()).add(text)
    candidates = await identity.keys_by_prefix(conn, prefixes=list(by_prefix))
    leaked = [key for key in candidates if any(matches(key.secret_hash, text) for text in by_prefix[key.prefix])]
    if not leaked:
        return []
    await identity.accounts_lock(conn, account_ids=sorted({key.account_id for key in leaked}))
    now = await identity.instant_read(conn)
    return [await _revoke(conn, key, actor, now) for key in sorted(leaked, key=lambda key: key.prefix)]


async def _revoke(conn: Connection, key: identity.SecretOwner, actor: Actor, now: datetime) -> LeakedKey:
    revoked_now = await identity.key_revoke_leaked(conn, key_id=key.id, secret_hash=key.secret_hash, now=now)
    if revoked_now:
        after = await identity.key_get(conn, account_id=key.account_id, key_id=key.id)
        await audit(
            conn, actor, Action.KEY_REVOKE_LEAKED, account_id=key.account_id, target_id=key.id, after=after, now=now
        )
    return LeakedKey(
        key_id=key.id,
        account_id=key.account_id,
        handle=key.handle,
        prefix=key.prefix,
        name=key.name,
        revoked_now=revoked_now,
    )
