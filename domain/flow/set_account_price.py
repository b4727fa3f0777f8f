"""Agree on prices of its own with an account: plan enterprise."""

from datetime import datetime

import msgspec

from domain.flow.audit import audit
from domain.model.audit import Action, Actor
from domain.model.errors import Code, refuse
from domain.model.pricing import Price
from domain.store import identity, prices
from domain.store.connection import Connection


class AgreedPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What a cast of the account costs from now on."""

    per_cast_micros: int
    per_gfuel_micros: int


async def set_account_price(
    conn: Connection, *, handle: str, agreed: AgreedPrice | None, actor: Actor, now: datetime
) -> Price:
    """Put the account on plan enterprise with these prices, or, with None, back to everybody's; return what it pays.

    Casts accepted before are settled as they were accepted. Twice changes nothing. Needs Role.ENGINE.
    Raises RefusedError: not_found, overloaded before the first release has set any price.
    """
    account = await identity.account_by_handle(conn, handle=handle)
    if account is None or account.kind == "platform":
        raise refuse(Code.NOT_FOUND, f"There is no account '{handle}'.")
    await identity.account_lock(conn, account_id=account.id)
    await prices.prices_lock(conn)
    standard = await prices.price_latest(conn)
    if standard is None:
        raise refuse(Code.OVERLOADED, "Prices are not set yet: run `spell release` first.")
    before = await prices.price_of_account(conn, account_id=account.id)
    if agreed is None:
        after = None
    elif before is not None and _terms(before) == agreed:
        after = before
    else:
        after = msgspec.structs.replace(
            standard,
            version=await prices.version_next(conn),
            per_cast_micros=agreed.per_cast_micros,
            per_gfuel_micros=agreed.per_gfuel_micros,
        )
        await prices.price_insert(conn, after, for_everybody=False, now=now)
    await prices.account_price_set(conn, account_id=account.id, version=None if after is None else after.version)
    await audit(
        conn,
        actor,
        Action.ACCOUNT_UPDATE,
        account_id=account.id,
        target_id=account.id,
        before={"price_version": None if before is None else before.version},
        after={"price_version": None if after is None else after.version},
        now=now,
    )
    return after or standard


def _terms(price: Price) -> AgreedPrice:
    return AgreedPrice(per_cast_micros=price.per_cast_micros, per_gfuel_micros=price.per_gfuel_micros)
