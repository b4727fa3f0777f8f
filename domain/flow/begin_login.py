"""A login at somebody else's page: begun, and taken up once where it comes back."""

from datetime import datetime, timedelta

from domain.model.login import FLOW_S, Provider, browser_hash, hash_of, is_token, mint_state
from domain.store import logins
from domain.store.connection import Connection


async def begin_login(
    conn: Connection, *, provider: Provider, binding: bytes, return_to: str, now: datetime, entropy: bytes
) -> str:
    """Return the `state` of a new login, good for FLOW_S in the browser that `binding` belongs to.

    `return_to` is a path of ours that was checked; `entropy` is STATE_BYTES random bytes. Needs Role.ENGINE.
    """
    state = mint_state(entropy)
    flow = logins.NewFlow(
        state_hash=hash_of(state),
        browser_hash=browser_hash(binding),
        provider=provider,
        return_to=return_to,
        expires_at=now + timedelta(seconds=FLOW_S),
    )
    await logins.flow_insert(conn, flow, now=now)
    return state


async def take_up_login(
    conn: Connection, *, provider: Provider, binding: bytes, state: str, now: datetime
) -> str | None:
    """Use a login up and return where it leads; None when it is unknown, over, used, or another browser's.

    Commit before anybody else is asked anything: what came back once never counts again, whatever becomes of it.
    Needs Role.ENGINE.
    """
    if not is_token(state):
        return None
    return await logins.flow_use(
        conn, state_hash=hash_of(state), browser_hash=browser_hash(binding), provider=provider, now=now
    )
