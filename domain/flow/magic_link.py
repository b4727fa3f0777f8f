"""A login by a mailed link: asked for, looked at, followed."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from domain.model.login import (
    LINK_S,
    LINK_SEED_BYTES,
    LINKS_PER_ADDRESS_MAX,
    MAIL_ISSUER,
    LinkPayload,
    ProvenIdentity,
    browser_hash,
    hash_of,
    is_token,
    link_token,
    stranger_id,
)
from domain.store import logins
from domain.store.connection import Connection


async def ask_link(
    conn: Connection,
    *,
    email: str,
    binding: bytes,
    return_to: str,
    signing_key: bytes,
    mail_id: UUID,
    now: datetime,
    entropy: bytes,
) -> bool:
    """Write a link and its mail down; False, and nothing written, when the address has had too many lately.

    `email` came out of `read_address`, `entropy` is LINK_SEED_BYTES random bytes. Whether somebody has the address
    changes nothing here. Needs Role.ENGINE.
    """
    assert len(entropy) == LINK_SEED_BYTES
    await logins.turn_take(conn, name=f"link {email}")
    if await logins.links_count(conn, email=email, since=now - timedelta(seconds=LINK_S)) >= LINKS_PER_ADDRESS_MAX:
        return False
    link = logins.NewLink(
        token_hash=hash_of(link_token(entropy, signing_key)),
        browser_hash=browser_hash(binding),
        email=email,
        return_to=return_to,
        expires_at=now + timedelta(seconds=LINK_S),
    )
    await logins.link_insert(conn, link, now=now)
    payload = msgspec.json.encode(LinkPayload(seed=entropy.hex())).decode()
    await logins.link_mail_insert(
        conn, mail_id=mail_id, email=email, stranger_id=stranger_id(email), payload=payload, now=now
    )
    return True


async def look_at_link(conn: Connection, *, token: str, binding: bytes, now: datetime) -> logins.LivingLink | None:
    """Return a link that can still be followed; looking at it, as programs that scan mail do, uses nothing up."""
    if not is_token(token):
        return None
    return await logins.link_read(conn, token_hash=hash_of(token), browser_hash=browser_hash(binding), now=now)


async def follow_link(
    conn: Connection, *, token: str, binding: bytes, now: datetime
) -> tuple[ProvenIdentity, str] | None:
    """Use a link up and return who proved what, and where it leads; None when it is over, used or another browser's.

    Needs Role.ENGINE.
    """
    if not is_token(token):
        return None
    followed = await logins.link_use(conn, token_hash=hash_of(token), browser_hash=browser_hash(binding), now=now)
    if followed is None:
        return None
    identity = ProvenIdentity(issuer=MAIL_ISSUER, subject=followed.email, email=followed.email, email_verified=True)
    return identity, followed.return_to
