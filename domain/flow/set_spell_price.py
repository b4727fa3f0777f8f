"""Name the price of a version: lower at once, higher after the notice."""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.flow.edit_spell import owned_spell
from domain.flow.edit_version import owned_version
from domain.model.audit import Action, Actor
from domain.model.creator_price import REPORT_UNITS, CreatorPrice, PriceChange, announce, check_price
from domain.model.manifest import Manifest, limits_max
from domain.store import spell_prices, spells
from domain.store.connection import Connection


class PricedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version and the newest price that was named for it."""

    version: spells.SpellVersion
    price: PriceChange | None


async def set_spell_price(
    conn: Connection,
    *,
    account_id: UUID,
    owner: str,
    name: str,
    version: str,
    asked: CreatorPrice,
    actor: Actor,
    now: datetime,
) -> PricedVersion:
    """Name `asked` (its `units_max` is the manifest's) as the version's price, and return what holds from now on.

    The row's instants are Postgres', the clock that casts are priced by; `now` is the log's. Naming the same again
    changes nothing. Raises RefusedError: not found, validation (a price that cannot be).
    """
    spell = await owned_spell(conn, account_id=account_id, owner=owner, name=name)
    await spells.spell_lock(conn, account_id=account_id, name=name)
    found = await owned_version(conn, spell, version)
    manifest = msgspec.json.decode(found.manifest, type=Manifest)
    wanted = msgspec.structs.replace(asked, units_max=0 if manifest.units is None else manifest.units.max)
    check_price(wanted, output_bytes_max=limits_max(manifest).output_bytes, reports_units=REPORT_UNITS in found.imports)
    latest = (await spell_prices.prices_latest(conn, [found.id])).get(found.id)
    change = announce(latest, wanted, version_id=found.id, now_us=await spell_prices.clock_us(conn))
    if change is None:
        return PricedVersion(version=found, price=latest)
    await spell_prices.price_insert(conn, change, account_id=account_id)
    await audit(
        conn,
        actor,
        Action.PRICE_ANNOUNCE,
        account_id=account_id,
        target_id=found.id,
        before=None if latest is None else _shown(latest),
        after=_shown(change),
        now=now,
    )
    return PricedVersion(version=found, price=change)


def _shown(change: PriceChange) -> dict[str, object]:
    parts = msgspec.structs.asdict(change.after)
    return {**parts, "version_id": change.version_id, "effective_ms": change.effective_ms}
