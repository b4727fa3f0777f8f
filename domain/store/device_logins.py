"""Logins of programs that a person confirms elsewhere. Everything here needs Role.ENGINE."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


class NewDeviceLogin(msgspec.Struct, frozen=True, kw_only=True):
    """A login to write."""

    device_hash: bytes
    user_code: str
    device_name: str
    expires_at: datetime


class PendingDevice(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is asked to confirm."""

    user_code: str
    device_name: str
    created_at: datetime


class DeviceLogin(msgspec.Struct, frozen=True, kw_only=True):
    """A login that is neither over nor used; `approved` is None while nobody has decided."""

    device_name: str
    approved: bool | None
    user_id: UUID | None
    account_id: UUID | None


async def device_login_insert(conn: Connection, login: NewDeviceLogin, *, drop_before: datetime, now: datetime) -> bool:
    """Begin a login; False when its code is taken."""
    parameters = {**msgspec.structs.asdict(login), "drop_before": drop_before, "now": now}
    return (await conn.execute(_QUERIES["device_login_insert"], parameters)).rowcount == 1


async def device_login_by_code(conn: Connection, *, user_code: str, now: datetime) -> PendingDevice | None:
    """Return the undecided login of a code."""
    async with conn.cursor(row_factory=class_row(PendingDevice)) as cursor:
        await cursor.execute(_QUERIES["device_login_by_code"], {"user_code": user_code, "now": now})
        return await cursor.fetchone()


async def device_login_decide(
    conn: Connection, *, user_code: str, user_id: UUID, approved: bool, now: datetime
) -> bool:
    """Decide a login; False when there is none, or it was decided before."""
    parameters = {"user_code": user_code, "user_id": user_id, "approved": approved, "now": now}
    return (await conn.execute(_QUERIES["device_login_decide"], parameters)).rowcount == 1


async def device_login_get(conn: Connection, *, device_hash: bytes, now: datetime) -> DeviceLogin | None:
    """Lock and return a login that is neither over nor used."""
    async with conn.cursor(row_factory=class_row(DeviceLogin)) as cursor:
        await cursor.execute(_QUERIES["device_login_get"], {"device_hash": device_hash, "now": now})
        return await cursor.fetchone()


async def device_login_use(conn: Connection, *, device_hash: bytes, now: datetime) -> bool:
    """Mark a login as used; False when it was."""
    parameters = {"device_hash": device_hash, "now": now}
    return (await conn.execute(_QUERIES["device_login_use"], parameters)).rowcount == 1
