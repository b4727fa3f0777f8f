"""Packages, grants, what services consumed, and the history of each balance. Everything needs the account's lock."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

import msgspec
from psycopg.rows import class_row, scalar_row

from domain.model.credits import Balance, Kind, Package, Reference
from domain.model.funding import Grant, GrantPart
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)
Row = TypeVar("Row")


class StoredGrant(msgspec.Struct, frozen=True, kw_only=True):
    """A grant as it stands."""

    id: UUID
    account_id: UUID
    priority: int
    granted_micros: int
    balance_micros: int
    held_micros: int
    expires_at: datetime | None
    order_id: UUID | None
    reason: str
    created_at: datetime

    @property
    def free_micros(self) -> int:
        """What may be taken of it: open casts hold the rest."""
        return self.balance_micros - self.held_micros

    @property
    def fundable(self) -> Grant:
        """Return it as what `take_from_grants` takes from."""
        return Grant(
            id=self.id,
            account_id=self.account_id,
            priority=self.priority,
            balance_micros=self.balance_micros,
            held_micros=self.held_micros,
            expires_at=self.expires_at,
        )


class NewGrant(msgspec.Struct, frozen=True, kw_only=True):
    """Credits to give."""

    id: UUID
    account_id: UUID
    micros: int
    priority: int
    expires_at: datetime | None = None
    order_id: UUID | None = None
    reason: str = ""


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a balance."""

    number: int
    kind: str
    amount_micros: int
    balance_before_micros: int
    balance_after_micros: int
    reason: str
    reference_type: str | None
    reference_id: str | None
    casts: int
    """Settled in it."""
    created_at: datetime


class TransactionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which changes to list; `created_after` is inclusive, `created_before` is not."""

    before: int | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


class Consumption(msgspec.Struct, frozen=True, kw_only=True):
    """What a call of a service took before."""

    account_id: UUID
    request_hash: bytes
    number: int


class _PartRow(msgspec.Struct, frozen=True):
    id: UUID
    micros: int


async def packages_list(conn: Connection) -> list[Package]:
    """Return what is for sale, the smallest first."""
    async with conn.cursor(row_factory=class_row(Package)) as cursor:
        await cursor.execute(_QUERIES["packages_list"])
        return await cursor.fetchall()


async def package_get(conn: Connection, *, package_id: str, for_sale: bool = True) -> Package | None:
    """Return a package; None when there is none, or it is `for_sale` no more."""
    return await _one(conn, Package, "package_get", {"id": package_id, "for_sale": for_sale})


async def package_price_set(conn: Connection, *, package_id: str, stripe_price: str | None) -> None:
    """Set which price at Stripe a package is sold under. Needs Role.ENGINE."""
    await conn.execute(_QUERIES["package_price_set"], {"id": package_id, "stripe_price": stripe_price})


async def grant_insert(conn: Connection, grant: NewGrant, *, now: datetime) -> bool:
    """Give credits; False when this grant, or one of its order, is there. The account has had credits from then on."""
    cursor = await conn.execute(_QUERIES["grant_insert"], {**msgspec.structs.asdict(grant), "now": now})
    if cursor.rowcount == 0:
        return False
    await conn.execute(_QUERIES["credits_ever_set"], {"account_id": grant.account_id})
    return True


async def grant_get(conn: Connection, *, account_id: UUID, grant_id: UUID) -> StoredGrant | None:
    """Return a grant, whatever is left of it."""
    return await _one(conn, StoredGrant, "grant_get", {"account_id": account_id, "id": grant_id})


async def grant_of_order(conn: Connection, *, account_id: UUID, order_id: UUID) -> StoredGrant | None:
    """Return what an order gave, whatever is left of it."""
    return await _one(conn, StoredGrant, "grant_of_order", {"account_id": account_id, "order_id": order_id})


async def grants_alive(conn: Connection, *, account_id: UUID) -> list[StoredGrant]:
    """Return what is left of the account's grants, in the order in which it is used up; expired ones too."""
    async with conn.cursor(row_factory=class_row(StoredGrant)) as cursor:
        await cursor.execute(_QUERIES["grants_alive"], {"account_id": account_id})
        return await cursor.fetchall()


async def grants_spend(conn: Connection, *, account_id: UUID, parts: Sequence[GrantPart]) -> None:
    """Take parts of grants, of each what is free at most."""
    rows = msgspec.json.encode([_PartRow(id=part.grant_id, micros=part.micros) for part in parts]).decode()
    cursor = await conn.execute(_QUERIES["grants_spend"], {"account_id": account_id, "rows": rows})
    assert cursor.rowcount == len(parts), "more was taken of a grant than is free"


async def grant_expire(conn: Connection, *, account_id: UUID, grant_id: UUID, micros: int) -> int:
    """Take what is free of a grant whose time is over; return in micros all that has expired of it by now."""
    parameters: dict[str, object] = {"account_id": account_id, "id": grant_id, "micros": micros}
    expired = await _scalar(conn, int, "grant_expire", parameters)
    assert expired is not None, "the grant has not that much: it was read before the account was locked"
    return expired


async def grant_take_back(conn: Connection, *, account_id: UUID, grant_id: UUID, micros: int) -> None:
    """Take credits whose money went back, what is free at most."""
    await _change(conn, "grant_take_back", account_id=account_id, grant_id=grant_id, micros=micros)


async def grant_give_back(conn: Connection, *, account_id: UUID, grant_id: UUID, micros: int) -> None:
    """Give back what was taken."""
    await _change(conn, "grant_give_back", account_id=account_id, grant_id=grant_id, micros=micros)


async def transaction_insert(
    conn: Connection,
    *,
    account_id: UUID,
    kind: Kind,
    amount_micros: int,
    reason: str,
    reference: Reference | None,
    now: datetime,
) -> int:
    """Write down a change that was just made to the account's grants; return its number."""
    number = await _scalar(
        conn,
        int,
        "transaction_insert",
        {
            "account_id": account_id,
            "kind": kind.value,
            "amount_micros": amount_micros,
            "reason": reason,
            "reference_type": None if reference is None else reference.type,
            "reference_id": None if reference is None else reference.id,
            "now": now,
        },
    )
    assert number is not None
    return number


async def transactions_list(
    conn: Connection, *, account_id: UUID, wanted: TransactionFilter, limit: int
) -> list[Transaction]:
    """Return up to `limit` changes of the balance, newest first."""
    parameters = {**msgspec.structs.asdict(wanted), "account_id": account_id, "limit": limit}
    async with conn.cursor(row_factory=class_row(Transaction)) as cursor:
        await cursor.execute(_QUERIES["transactions_list"], parameters)
        return await cursor.fetchall()


async def transaction_get(conn: Connection, *, account_id: UUID, number: int) -> Transaction:
    """Return a change that is there."""
    found = await _one(conn, Transaction, "transaction_get", {"account_id": account_id, "number": number})
    assert found is not None
    return found


async def balance_read(conn: Connection, *, account_id: UUID, now: datetime) -> Balance:
    """Return what the account has, holds and had."""
    found = await _one(conn, Balance, "balance_read", {"account_id": account_id, "now": now})
    assert found is not None, "sums are one row"
    return found


async def consumption_get(conn: Connection, *, caller_id: UUID, idempotency_key: str) -> Consumption | None:
    """Return what this key of a service took before, whichever account it was of. Needs Role.ENGINE."""
    return await _one(
        conn, Consumption, "consumption_get", {"caller_id": caller_id, "idempotency_key": idempotency_key}
    )


async def consumption_insert(
    conn: Connection,
    *,
    consumption_id: UUID,
    account_id: UUID,
    caller_id: UUID,
    idempotency_key: str | None,
    request_hash: bytes,
    amount_micros: int,
    number: int,
    now: datetime,
) -> bool:
    """Remember what a call took; False when its key was used meanwhile, for another account."""
    cursor = await conn.execute(
        _QUERIES["consumption_insert"],
        {
            "id": consumption_id,
            "account_id": account_id,
            "caller_id": caller_id,
            "idempotency_key": idempotency_key,
            "request_hash": request_hash,
            "amount_micros": amount_micros,
            "number": number,
            "now": now,
        },
    )
    return cursor.rowcount == 1


async def account_named(conn: Connection, *, identifier: UUID) -> UUID | None:
    """Return the account of an id that is the account's or its user's. Needs Role.ENGINE."""
    return await _scalar(conn, UUID, "account_named", {"id": identifier})


async def user_of_account(conn: Connection, *, account_id: UUID) -> UUID | None:
    """Return the user of a personal account."""
    return await _scalar(conn, UUID, "user_of_account", {"account_id": account_id})


async def accounts_expiring(conn: Connection, *, now: datetime, limit: int) -> list[UUID]:
    """Return accounts with grants to expire, up to `limit`. Needs Role.ENGINE; each is asked again under its lock."""
    cursor = await conn.execute(_QUERIES["accounts_expiring"], {"now": now, "limit": limit})
    return [row[0] for row in await cursor.fetchall()]


async def _change(conn: Connection, query: str, *, account_id: UUID, grant_id: UUID, micros: int) -> None:
    cursor = await conn.execute(_QUERIES[query], {"account_id": account_id, "id": grant_id, "micros": micros})
    assert cursor.rowcount == 1, "the grant has not that much: it was read before the account was locked"


async def _one(conn: Connection, kind: type[Row], query: str, parameters: dict[str, object]) -> Row | None:
    async with conn.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(_QUERIES[query], parameters)
        return await cursor.fetchone()


async def _scalar(conn: Connection, kind: type[Row], query: str, parameters: dict[str, object]) -> Row | None:
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES[query], parameters)
        found = await cursor.fetchone()
    assert found is None or isinstance(found, kind)
    return found
