"""Begin the login of a program that has no browser."""

from datetime import datetime, timedelta

from domain.model.device_login import DEVICE_LOGIN_S, DeviceCodes, hash_of_device_code, mint_codes
from domain.model.errors import Code, refuse
from domain.store import device_logins
from domain.store.connection import Connection


async def begin_device_login(conn: Connection, *, device_name: str, now: datetime, entropy: bytes) -> DeviceCodes:
    """Return new codes, good for DEVICE_LOGIN_S; `entropy` is ENTROPY_BYTES random bytes.

    Raises RefusedError (overloaded) when the short code is somebody else's at the moment. Needs Role.ENGINE.
    """
    codes = mint_codes(entropy)
    device_hash = hash_of_device_code(codes.device_code)
    assert device_hash is not None, "it was minted above"
    login = device_logins.NewDeviceLogin(
        device_hash=device_hash,
        user_code=codes.user_code,
        device_name=device_name,
        expires_at=now + timedelta(seconds=DEVICE_LOGIN_S),
    )
    # Kept for as long again, so that a late poll is told that the login is over.
    drop_before = now - timedelta(seconds=DEVICE_LOGIN_S)
    if not await device_logins.device_login_insert(conn, login, drop_before=drop_before, now=now):
        raise refuse(Code.OVERLOADED, "This code is in use at the moment. Try again.")
    return codes
