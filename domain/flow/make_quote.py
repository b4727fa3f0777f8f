"""Say what a cast would cost at most, and promise it for a while. Nothing is held and nothing written."""

from uuid import UUID

from domain.model.admission import CastSpec
from domain.model.creator_price import NO_PRICE
from domain.model.errors import Code, refuse
from domain.model.pricing import hold_micros
from domain.model.quote import QUOTE_MS, Quote
from domain.store import prices, spell_prices
from domain.store.connection import Connection


async def make_quote(
    connection: Connection, spec: CastSpec, *, quote_id: UUID, account_id: UUID, spell: str, version: str
) -> Quote:
    """Return the quote of a cast for this account, at the prices of Postgres' instant, by whose clock it ends."""
    now_ms = await spell_prices.clock_us(connection) // 1000
    price = await prices.price_of_account(connection, account_id=account_id) or await prices.price_latest(connection)
    if price is None:
        raise refuse(Code.OVERLOADED, "Prices are not set yet. Try again.")
    change = (await spell_prices.prices_latest(connection, [spec.version_id])).get(spec.version_id)
    creator = NO_PRICE if change is None or spec.creator_id == account_id else change.at(now_ms)
    limits = spec.limits
    return Quote(
        id=quote_id,
        account_id=account_id,
        spell_id=spec.spell_id,
        version_id=spec.version_id,
        spell=spell,
        version=version,
        digest=f"sha256:{spec.digest.hex()}",
        limits=limits,
        price=price,
        creator_price=creator,
        max_price_micros=hold_micros(price, creator, fuel_limit=limits.fuel, output_bytes_limit=limits.output_bytes),
        expires_ms=now_ms + QUOTE_MS,
    )
