"""From a proven identity to a user: the one it belongs to, or a new one with a personal account."""

import hashlib
from datetime import datetime
from typing import Final
from uuid import UUID

from domain.flow.audit import audit
from domain.flow.create_user import Billing, Plan
from domain.model.audit import Action, Actor
from domain.model.errors import Code, refuse
from domain.model.login import (
    HANDLE_ENTROPY_BYTES,
    NAME_CHARACTERS_MAX,
    LoginUser,
    ProvenIdentity,
    handles_for,
    printable,
    read_address,
)
from domain.store import identity as accounts
from domain.store import logins
from domain.store.connection import Connection

ENTROPY_BYTES: Final = 32
_BILLING: Final[Billing] = "auto"


async def sign_in(
    conn: Connection,
    identity: ProvenIdentity,
    *,
    plan: Plan,
    address: str,
    request_id: str,
    now: datetime,
    entropy: bytes,
) -> LoginUser:
    """Return the user of an identity, made with a personal account at the first login.

    An identity nobody has is the way in of a user of the same address only when its issuer verified the address and
    the user proved it too: otherwise whoever names somebody's address at a careless issuer would get into his account.
    `address` and `request_id` are those of the login, for the audit log; `entropy` is ENTROPY_BYTES random bytes.
    Raises RefusedError (forbidden) for a suspended account. Needs Role.ENGINE.
    """
    assert len(entropy) == ENTROPY_BYTES
    identity = _cleaned(identity)
    # In this order everywhere: the identity, then the address.
    await logins.turn_take(conn, name=f"identity {identity.issuer} {identity.subject}")
    person = await logins.identity_use(conn, identity, now=now)
    made = False
    if person is None:
        if identity.email is not None and identity.email_verified:
            await logins.turn_take(conn, name=f"address {identity.email}")
            person = await logins.user_by_address(conn, email=identity.email)
        if person is None:
            person, made = await _make_person(conn, identity, plan, now, entropy), True
        identity_id = _id(b"identity", entropy)
        await logins.identity_insert(conn, identity, person, identity_id=identity_id, now=now)
        actor = Actor(kind="session", user_id=person.user_id, address=address, request_id=request_id)
        await audit(
            conn,
            actor,
            Action.USER_CREATE if made else Action.IDENTITY_LINK,
            account_id=person.account_id,
            target_id=person.user_id if made else identity_id,
            after={"handle": person.handle, "plan": plan, "billing": _BILLING, "issuer": identity.issuer},
            now=now,
        )
    if person.status != "active":
        raise refuse(Code.FORBIDDEN, "This account is suspended. Contact the operator.")
    return LoginUser(user_id=person.user_id, account_id=person.account_id, handle=person.handle, made=made)


async def _make_person(
    conn: Connection, identity: ProvenIdentity, plan: Plan, now: datetime, entropy: bytes
) -> logins.Person:
    user_id, account_id = _id(b"user", entropy), _id(b"account", entropy)
    for handle in handles_for(identity.handle_hint, entropy[:HANDLE_ENTROPY_BYTES]):
        if await accounts.account_insert(
            conn, account_id=account_id, handle=handle, kind="personal", plan=plan, billing=_BILLING, now=now
        ):
            await logins.person_insert(conn, identity, user_id=user_id, account_id=account_id, now=now)
            return logins.Person(user_id=user_id, account_id=account_id, handle=handle, status="active")
    raise refuse(Code.OVERLOADED, "No handle was free. Try again.")


def _cleaned(identity: ProvenIdentity) -> ProvenIdentity:
    """Return the identity as it is stored: an address that no mail can be sent to is none."""
    email = None if identity.email is None else read_address(identity.email)
    return ProvenIdentity(
        issuer=identity.issuer,
        subject=identity.subject,
        email=email,
        email_verified=identity.email_verified and email is not None,
        name=printable(identity.name, NAME_CHARACTERS_MAX),
        handle_hint=identity.handle_hint,
    )


def _id(what: bytes, entropy: bytes) -> UUID:
    return UUID(bytes=hashlib.sha256(what + entropy).digest()[:16], version=4)
