"""Put the configured prices into force."""

from datetime import datetime
from uuid import UUID

from domain.flow.audit import audit
from domain.model.audit import Action, Actor
from domain.model.pricing import Price
from domain.store import prices
from domain.store.connection import Connection


async def set_prices(
    conn: Connection,
    *,
    account_id: UUID,
    per_cast_micros: int,
    per_gfuel_micros: int,
    platform_share_percent: int,
    actor: Actor,
    now: datetime,
) -> Price:
    """Return the version of the price book with these prices, made when the latest one differs.

    Casts accepted before are settled by the version they were accepted under. `account_id` is the platform's own, in
    whose log the change stands.
    """
    await prices.prices_lock(conn)
    latest = await prices.price_latest(conn)
    price = Price(
        version=await prices.version_next(conn),
        per_cast_micros=per_cast_micros,
        per_gfuel_micros=per_gfuel_micros,
        platform_share_percent=platform_share_percent,
    )
    if latest is not None and _amounts(latest) == _amounts(price):
        return latest
    await prices.price_insert(conn, price, now=now)
    await audit(
        conn,
        actor,
        Action.PRICE_CREATE,
        account_id=account_id,
        target_id=price.version,
        before=latest,
        after=price,
        now=now,
    )
    return price


def _amounts(price: Price) -> tuple[int, int, int]:
    return (price.per_cast_micros, price.per_gfuel_micros, price.platform_share_percent)
