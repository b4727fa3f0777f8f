"""Accounts, users and API keys. Everything here runs inside the caller's transaction."""

from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from psycopg.rows import class_row, scalar_row

from domain.model.api_key import mode_of
from domain.model.key_rules import KeyTerms
from domain.model.modes import Mode
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)
Row = TypeVar("Row")

# A person waits this long for a lock before the answer is "try again"; a batch of casts holds one for milliseconds.
PATIENT_LOCK_TIMEOUT_MS: Final = 1_800
# A new budget marks every open cast of its account: 100,000 of them, the default bound, take 2 s (measured).
PATIENT_STATEMENT_TIMEOUT_MS: Final = 10_000


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account with the mail address of its user, where it has one."""

    id: UUID
    handle: str
    kind: str
    status: str
    plan: str
    billing: str
    email: str | None


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it may be shown: all but its secret's hash."""

    id: UUID
    account_id: UUID
    prefix: str
    name: str
    scopes: list[str]
    made_by_key: UUID | None
    rate_limit_rpm: int | None
    open_casts_max: int | None
    allowed_origins: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """To the minute, and up to a few seconds late."""
    rotated_at: datetime | None
    previous_prefix: str | None
    """Of the secret before the last rotation, good until `previous_until`."""
    previous_until: datetime | None

    @property
    def terms(self) -> KeyTerms:
        """What the key may do."""
        return KeyTerms(
            scopes=frozenset(self.scopes),
            rate_limit_rpm=self.rate_limit_rpm,
            open_casts_max=self.open_casts_max,
            expires_at=self.expires_at,
            allowed_origins=tuple(self.allowed_origins),
        )

    @property
    def mode(self) -> Mode:
        """What the key is for, as its text says."""
        return mode_of(self.prefix)

    def is_alive(self, now: datetime) -> bool:
        """Tell whether the key opens anything: neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


class NewApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key to write. `secret_hash` is Argon2id of the whole text."""

    id: UUID
    account_id: UUID
    prefix: str
    secret_hash: str
    name: str
    scopes: list[str]
    made_by_key: UUID | None
    rate_limit_rpm: int | None
    open_casts_max: int | None
    expires_at: datetime | None
    allowed_origins: list[str] = msgspec.field(default_factory=list)


class SecretOwner(msgspec.Struct, frozen=True, kw_only=True):
    """A key found by a prefix it has or had, with what is stored of that very secret."""

    id: UUID
    account_id: UUID
    handle: str
    prefix: str
    name: str
    secret_hash: str
    revoked: bool


class Creation(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was accepted before, and the ids of what it made."""

    request_hash: bytes
    made_ids: tuple[UUID, ...]


async def account_insert(
    conn: Connection, *, account_id: UUID, handle: str, kind: str, plan: str, billing: str, now: datetime
) -> bool:
    """Make an account; False when its handle is taken."""
    cursor = await conn.execute(
        _QUERIES["account_insert"],
        {"id": account_id, "handle": handle, "kind": kind, "plan": plan, "billing": billing, "now": now},
    )
    return cursor.rowcount == 1


async def user_insert(conn: Connection, *, user_id: UUID, account_id: UUID, email: str | None, now: datetime) -> None:
    """Give a personal account its user."""
    await conn.execute(_QUERIES["user_insert"], {"id": user_id, "account_id": account_id, "email": email, "now": now})


async def account_by_handle(conn: Connection, *, handle: str) -> Account | None:
    """Return the account with this handle."""
    return await _one(conn, Account, "account_by_handle", {"handle": handle})


async def account_lock(conn: Connection, *, account_id: UUID) -> str | None:
    """Lock the account until the transaction ends, and return its status; None when there is none.

    Waits up to PATIENT_LOCK_TIMEOUT_MS, then raises LockTimeoutError at the transaction's edge.
    Whatever depends on the lock must be read after this returns.
    """
    await conn.execute(
        _QUERIES["patience_set"],
        {"lock_timeout_ms": PATIENT_LOCK_TIMEOUT_MS, "statement_timeout_ms": PATIENT_STATEMENT_TIMEOUT_MS},
    )
    return await _scalar(conn, str, "account_lock", {"account_id": account_id})


async def instant_read(conn: Connection) -> datetime:
    """Return Postgres' clock as it is now, not as it was when the transaction began."""
    instant = await _scalar(conn, datetime, "instant_read", {})
    assert instant is not None
    return instant


async def key_insert(conn: Connection, key: NewApiKey, *, now: datetime) -> None:
    """Make a key."""
    await conn.execute(_QUERIES["key_insert"], {**msgspec.structs.asdict(key), "now": now})


async def key_get(conn: Connection, *, account_id: UUID, key_id: UUID) -> ApiKey | None:
    """Return a key of the account, alive or not."""
    return await _one(conn, ApiKey, "key_get", {"account_id": account_id, "id": key_id})


async def key_by_prefix(conn: Connection, *, account_id: UUID, prefix: str) -> ApiKey | None:
    """Return a key of the account by its public part, or the one before its last rotation; alive or not."""
    return await _one(conn, ApiKey, "key_by_prefix", {"account_id": account_id, "prefix": prefix})


async def keys_list(
    conn: Connection, *, account_id: UUID, before: tuple[datetime, UUID] | None, limit: int
) -> list[ApiKey]:
    """Return up to `limit` keys that are not revoked, newest first, older than `before` where it is given."""
    before_at, before_id = before if before is not None else (None, None)
    parameters = {"account_id": account_id, "before_at": before_at, "before_id": before_id, "limit": limit}
    async with conn.cursor(row_factory=class_row(ApiKey)) as cursor:
        await cursor.execute(_QUERIES["keys_list"], parameters)
        return await cursor.fetchall()


async def keys_count(conn: Connection, *, account_id: UUID, now: datetime) -> int:
    """Return how many keys of the account are alive."""
    return await _scalar(conn, int, "keys_count", {"account_id": account_id, "now": now}) or 0


async def key_revoke(conn: Connection, *, account_id: UUID, prefix: str, now: datetime) -> bool:
    """End a key; True when there is one, also when it had ended before."""
    cursor = await conn.execute(_QUERIES["key_revoke"], {"account_id": account_id, "prefix": prefix, "now": now})
    return cursor.rowcount == 1


async def key_update(conn: Connection, *, account_id: UUID, key_id: UUID, name: str, terms: KeyTerms) -> bool:
    """Set name and terms of a key; False when it is revoked."""
    cursor = await conn.execute(
        _QUERIES["key_update"],
        {
            "account_id": account_id,
            "id": key_id,
            "name": name,
            "scopes": sorted(terms.scopes),
            "rate_limit_rpm": terms.rate_limit_rpm,
            "open_casts_max": terms.open_casts_max,
            "expires_at": terms.expires_at,
            "allowed_origins": list(terms.allowed_origins),
        },
    )
    return cursor.rowcount == 1


async def key_rotate(
    conn: Connection,
    *,
    account_id: UUID,
    key_id: UUID,
    prefix: str,
    secret_hash: str,
    previous_until: datetime | None,
    now: datetime,
) -> bool:
    """Give a key another secret, the one before good until `previous_until` (None: ends now); False when revoked."""
    cursor = await conn.execute(
        _QUERIES["key_rotate"],
        {
            "account_id": account_id,
            "id": key_id,
            "prefix": prefix,
            "secret_hash": secret_hash,
            "previous_until": previous_until,
            "now": now,
        },
    )
    return cursor.rowcount == 1


async def keys_use(conn: Connection, *, used: dict[UUID, datetime]) -> set[UUID]:
    """Note when keys were last used, and return those noted: not what was noted within a minute or is locked now."""
    cursor = await conn.execute(_QUERIES["keys_use"], {"ids": list(used), "times": list(used.values())})
    return {row[0] for row in await cursor.fetchall()}


async def keys_by_prefix(conn: Connection, *, prefixes: list[str]) -> list[SecretOwner]:
    """Return the keys of any account whose living secrets have these prefixes. Needs Role.ENGINE."""
    async with conn.cursor(row_factory=class_row(SecretOwner)) as cursor:
        await cursor.execute(_QUERIES["keys_by_prefix"], {"prefixes": prefixes})
        return await cursor.fetchall()


async def key_revoke_leaked(conn: Connection, *, key_id: UUID, secret_hash: str, now: datetime) -> bool:
    """End the key that has this secret; False when it is revoked, or has other secrets by now."""
    cursor = await conn.execute(_QUERIES["key_revoke_leaked"], {"id": key_id, "secret_hash": secret_hash, "now": now})
    return cursor.rowcount == 1


async def accounts_lock(conn: Connection, *, account_ids: list[UUID]) -> None:
    """Lock several accounts until the transaction ends, as patiently as `account_lock`."""
    await conn.execute(
        _QUERIES["patience_set"],
        {"lock_timeout_ms": PATIENT_LOCK_TIMEOUT_MS, "statement_timeout_ms": PATIENT_STATEMENT_TIMEOUT_MS},
    )
    await conn.execute(_QUERIES["accounts_lock"], {"account_ids": account_ids})


async def creation_get(conn: Connection, *, account_id: UUID, key: str) -> Creation | None:
    """Return what was made under an idempotency key: needs Role.ENGINE and the account lock."""
    cursor = await conn.execute(_QUERIES["creation_get"], {"account_id": account_id, "key": key})
    row = await cursor.fetchone()
    return None if row is None else Creation(request_hash=bytes(row[0]), made_ids=tuple(row[1]))


async def creation_insert(
    conn: Connection, *, account_id: UUID, key: str, request_hash: bytes, made_ids: list[UUID], now: datetime
) -> None:
    """Remember what was made under an idempotency key."""
    await conn.execute(
        _QUERIES["creation_insert"],
        {"account_id": account_id, "key": key, "request_hash": request_hash, "made_ids": made_ids, "now": now},
    )


async def _one(conn: Connection, shape: type[Row], query: str, parameters: dict[str, Any]) -> Row | None:
    async with conn.cursor(row_factory=class_row(shape)) as cursor:
        await cursor.execute(_QUERIES[query], parameters)
        return await cursor.fetchone()


async def _scalar(conn: Connection, shape: type[Row], query: str, parameters: dict[str, Any]) -> Row | None:
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES[query], parameters)
        value = await cursor.fetchone()
    assert value is None or isinstance(value, shape)
    return value
