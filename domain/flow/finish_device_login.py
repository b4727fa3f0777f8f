"""Give a program the session that a person confirmed."""

from datetime import datetime

from domain.flow.open_session import open_session
from domain.model.device_login import POLL_INTERVAL_S, hash_of_device_code
from domain.model.errors import Code, refuse
from domain.model.session import OpenedSession
from domain.store import device_logins
from domain.store.connection import Connection


async def finish_device_login(
    conn: Connection, *, device_code: str, address: str, request_id: str = "", now: datetime, entropy: bytes
) -> OpenedSession:
    """Open the session of a confirmed login, once; it is shown to its user under the name of the device.

    Raises RefusedError: authorization pending while nobody has decided, access denied, expired token for a code that
    is unknown, over or used (RFC 8628, 3.5). Needs Role.ENGINE.
    """
    device_hash = hash_of_device_code(device_code)
    login = (
        None if device_hash is None else await device_logins.device_login_get(conn, device_hash=device_hash, now=now)
    )
    if device_hash is None or login is None:
        raise refuse(Code.EXPIRED_TOKEN, "This login is over. Begin again with `spell login`.")
    if login.approved is None:
        detail = f"Nobody has confirmed the code yet. Ask again in {POLL_INTERVAL_S} seconds."
        raise refuse(Code.AUTHORIZATION_PENDING, detail)
    if not login.approved:
        raise refuse(Code.ACCESS_DENIED, "The login was turned down in the browser.")
    assert login.user_id is not None, "whoever approved is written with it"
    assert login.account_id is not None, "a user has an account"
    used = await device_logins.device_login_use(conn, device_hash=device_hash, now=now)
    assert used, "it was locked above"
    return await open_session(
        conn,
        user_id=login.user_id,
        account_id=login.account_id,
        kind="cli",
        user_agent=login.device_name,
        address=address,
        request_id=request_id,
        now=now,
        entropy=entropy,
    )
