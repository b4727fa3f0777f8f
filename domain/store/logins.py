"""Logins under way, mailed links, and who is behind an identity. Everything here needs Role.ENGINE."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.login import DROPPED_PER_LOGIN, LINK_EVENT, MAIL_ISSUER, ProvenIdentity, Provider
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


class NewFlow(msgspec.Struct, frozen=True, kw_only=True):
    """A login to write."""

    state_hash: bytes
    browser_hash: bytes
    provider: Provider
    return_to: str
    expires_at: datetime


class NewLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link to write."""

    token_hash: bytes
    browser_hash: bytes
    email: str
    return_to: str
    expires_at: datetime


class LivingLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link that can still be followed."""

    email: str
    same_browser: bool


class FollowedLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link that was followed just now."""

    email: str
    return_to: str


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A user with the account."""

    user_id: UUID
    account_id: UUID
    handle: str
    status: str


async def turn_take(conn: Connection, *, name: str) -> None:
    """Wait until nobody else has the turn of this name; it is given back when the transaction ends."""
    await conn.execute(_QUERIES["turn_take"], {"name": name})


async def flow_insert(conn: Connection, flow: NewFlow, *, now: datetime) -> None:
    """Begin a login."""
    parameters = {**msgspec.structs.asdict(flow), "now": now, "dropped_max": DROPPED_PER_LOGIN}
    await conn.execute(_QUERIES["flow_insert"], parameters)


async def flow_use(
    conn: Connection, *, state_hash: bytes, browser_hash: bytes, provider: Provider, now: datetime
) -> str | None:
    """Use a login up and return where it leads; None for one that is over, used, or another browser's."""
    parameters = {"state_hash": state_hash, "browser_hash": browser_hash, "provider": provider, "now": now}
    row = await (await conn.execute(_QUERIES["flow_use"], parameters)).fetchone()
    return None if row is None else str(row[0])


async def links_count(conn: Connection, *, email: str, since: datetime) -> int:
    """Return how many links an address got since then."""
    row = await (await conn.execute(_QUERIES["links_count"], {"email": email, "since": since})).fetchone()
    assert row is not None
    return int(row[0])


async def link_insert(conn: Connection, link: NewLink, *, now: datetime) -> None:
    """Write a link down."""
    parameters = {**msgspec.structs.asdict(link), "now": now, "dropped_max": DROPPED_PER_LOGIN}
    await conn.execute(_QUERIES["link_insert"], parameters)


async def link_mail_insert(
    conn: Connection, *, mail_id: UUID, email: str, stranger_id: UUID, payload: str, now: datetime
) -> None:
    """Write the mail of a link down for the courier; `stranger_id` stands for an address without an account."""
    parameters = {
        "id": mail_id,
        "email": email,
        "issuer": MAIL_ISSUER,
        "stranger_id": stranger_id,
        "event_type": LINK_EVENT,
        "payload": payload,
        "now": now,
    }
    await conn.execute(_QUERIES["link_mail_insert"], parameters)


async def link_read(conn: Connection, *, token_hash: bytes, browser_hash: bytes, now: datetime) -> LivingLink | None:
    """Return a link that can still be followed, without using it."""
    parameters = {"token_hash": token_hash, "browser_hash": browser_hash, "now": now}
    async with conn.cursor(row_factory=class_row(LivingLink)) as cursor:
        await cursor.execute(_QUERIES["link_read"], parameters)
        return await cursor.fetchone()


async def link_use(conn: Connection, *, token_hash: bytes, browser_hash: bytes, now: datetime) -> FollowedLink | None:
    """Use a link up; None for one that is over, used, or another browser's."""
    parameters = {"token_hash": token_hash, "browser_hash": browser_hash, "now": now}
    async with conn.cursor(row_factory=class_row(FollowedLink)) as cursor:
        await cursor.execute(_QUERIES["link_use"], parameters)
        return await cursor.fetchone()


async def identity_use(conn: Connection, identity: ProvenIdentity, *, now: datetime) -> Person | None:
    """Note a login of an identity and return whose it is; None for one nobody has."""
    parameters = {
        "issuer": identity.issuer,
        "subject": identity.subject,
        "email": identity.email,
        "email_verified": identity.email_verified,
        "now": now,
    }
    async with conn.cursor(row_factory=class_row(Person)) as cursor:
        await cursor.execute(_QUERIES["identity_use"], parameters)
        return await cursor.fetchone()


async def user_by_address(conn: Connection, *, email: str) -> Person | None:
    """Return who proved this address, which is in lower case."""
    async with conn.cursor(row_factory=class_row(Person)) as cursor:
        await cursor.execute(_QUERIES["user_by_address"], {"email": email})
        return await cursor.fetchone()


async def person_insert(
    conn: Connection, identity: ProvenIdentity, *, user_id: UUID, account_id: UUID, now: datetime
) -> None:
    """Give a new account its user."""
    parameters = {
        "user_id": user_id,
        "account_id": account_id,
        "email": identity.email,
        "email_verified": identity.email_verified,
        "name": identity.name,
        "now": now,
    }
    await conn.execute(_QUERIES["person_insert"], parameters)


async def identity_insert(
    conn: Connection, identity: ProvenIdentity, person: Person, *, identity_id: UUID, now: datetime
) -> None:
    """Give a user one more way in."""
    parameters = {
        "id": identity_id,
        "user_id": person.user_id,
        "account_id": person.account_id,
        "issuer": identity.issuer,
        "subject": identity.subject,
        "email": identity.email,
        "email_verified": identity.email_verified,
        "now": now,
    }
    await conn.execute(_QUERIES["identity_insert"], parameters)
