"""Take a person out of an account: at once what leads to the person, in the background what is much."""

from uuid import UUID

from domain.flow.audit import audit
from domain.flow.creation import lock_active_account
from domain.model.audit import Action, Actor
from domain.model.erasure import FAREWELL, RECENT_SIGN_IN, pseudonym_of
from domain.model.errors import Code, Fault, refuse
from domain.model.login import MAIL_ISSUER, stranger_id
from domain.store import erasure, identity
from domain.store.connection import Connection


async def request_erasure(conn: Connection, *, account_id: UUID, session_id: UUID, confirm: str, actor: Actor) -> None:
    """Make the account a pseudonym under its lock; `domain.flow.erase` goes on. Needs Role.ENGINE.

    From the commit on nothing leads from the account to the person or back, no session or key of it is alive, and
    nobody can ask for it a second time. `confirm` is the account's handle, to say that it is meant.
    Raises RefusedError: validation (another handle), forbidden (not signed in just now, suspended), conflict (a
    subscription is running).
    """
    await lock_active_account(conn, account_id=account_id)
    now = await identity.instant_read(conn)
    standing = await erasure.standing_read(conn, account_id=account_id)
    assert standing.kind == "personal", "nobody signs in to another"
    if confirm != standing.handle:
        fix = f"Send confirm={standing.handle}, if this account is to be erased for good."
        fault = Fault(location="confirm", message="it is not the handle of this account", fix=fix)
        raise refuse(Code.VALIDATION, f"The request does not fit at: {fault.location}.", faults=(fault,))
    opened_at = await erasure.session_opened(conn, account_id=account_id, session_id=session_id)
    if opened_at is None:
        raise refuse(Code.UNAUTHORIZED, "This session has ended or expired. Sign in again.")
    if now - opened_at > RECENT_SIGN_IN:
        minutes = int(RECENT_SIGN_IN.total_seconds() // 60)
        raise refuse(Code.FORBIDDEN, f"Sign in again, and erase the account within {minutes} minutes of that.")
    if standing.subscription_active:
        raise refuse(Code.CONFLICT, "A subscription is running. Cancel it first: POST /v1/billing/cancel.")
    begun = await erasure.erasure_insert(conn, account_id=account_id, now=now)
    assert begun, "the account was active under its lock"
    await audit(conn, actor, Action.ACCOUNT_ERASE, account_id=account_id, target_id=account_id, now=now)
    addresses = await erasure.addresses_read(conn, account_id=account_id, mail_issuer=MAIL_ISSUER)
    await erasure.forget_at_once(
        conn,
        account_id=account_id,
        handle=pseudonym_of(account_id),
        farewell=FAREWELL,
        addresses=addresses,
        stranger_ids=[stranger_id(address) for address in addresses],
        now=now,
    )
