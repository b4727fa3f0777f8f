"""What a version costs: shown with it, and changed by its creator."""

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from litestar import put

from api.access import needs
from api.auth import Principal
from api.services import Services
from api.spells.owners import check_owner
from domain.flow.set_spell_price import PricedVersion, set_spell_price
from domain.model.audit import Actor
from domain.model.creator_price import NO_PRICE, PRICE_MICROS_MAX, CreatorPrice, PriceChange
from domain.model.key_rules import KeyScope
from domain.model.manifest import Manifest
from domain.store.connection import transaction

_Micros = Annotated[int, msgspec.Meta(ge=0, le=PRICE_MICROS_MAX)]


class PriceBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole price of a version, in micros: a part that is left out is nothing."""

    per_cast_micros: _Micros = 0
    per_output_kib_micros: _Micros = 0
    """For each KiB of output that is begun."""
    per_unit_micros: _Micros = 0
    """For each unit the spell reports; what a unit is stands in the manifest."""


class NextPriceView(msgspec.Struct, frozen=True, kw_only=True):
    """A price that was announced and is not in force yet."""

    per_cast_micros: int
    per_output_kib_micros: int
    per_unit_micros: int
    announced_at: datetime
    effective_at: datetime
    """Casts that are accepted from this instant on are held at it."""


class PriceView(msgspec.Struct, frozen=True, kw_only=True):
    """What the creator asks for a cast that gives a result, beside the platform's fee and fuel."""

    number: int
    """How often the creator has named a price for this version."""
    per_cast_micros: int
    per_output_kib_micros: int
    per_unit_micros: int
    unit: str | None
    """What is counted, as the manifest names it."""
    units_max: int
    """The most that one cast pays for."""
    next: NextPriceView | None


def price_view(change: PriceChange | None, manifest: Manifest, now: datetime) -> PriceView:
    """Return a version's price as it is shown at `now`."""
    now_ms = milliseconds(now)
    current = NO_PRICE if change is None else change.at(now_ms)
    return PriceView(
        number=0 if change is None else change.number,
        per_cast_micros=current.per_cast_micros,
        per_output_kib_micros=current.per_output_kib_micros,
        per_unit_micros=current.per_unit_micros,
        unit=None if manifest.units is None else manifest.units.name,
        units_max=0 if manifest.units is None else manifest.units.max,
        next=None if change is None or not change.is_ahead(now_ms) else _next(change),
    )


def milliseconds(instant: datetime) -> int:
    """Return an instant as prices know it."""
    return int(instant.timestamp() * 1000)


@put("/v1/spells/{owner:str}/{name:str}/versions/{version:str}/price", access=needs(KeyScope.SPELLS_WRITE))
async def name_price(
    *, services: Services, principal: Principal, actor: Actor, owner: str, name: str, version: str, data: PriceBody
) -> PriceView:
    """Name the price of a version of one's own spell: lower at once, higher in 14 days.

    What raises any part waits whole; it replaces what was announced before. No cast that was accepted changes.
    """
    check_owner(principal, owner)
    async with transaction(services.engine_pool) as connection:
        done = await set_spell_price(
            connection,
            account_id=principal.account_id,
            owner=owner,
            name=name,
            version=version,
            asked=CreatorPrice(
                per_cast_micros=data.per_cast_micros,
                per_output_kib_micros=data.per_output_kib_micros,
                per_unit_micros=data.per_unit_micros,
            ),
            actor=actor,
            now=services.now(),
        )
    services.catalog.forget(owner, name)
    return _view(done, services.now())


def _view(priced: PricedVersion, now: datetime) -> PriceView:
    return price_view(priced.price, msgspec.json.decode(priced.version.manifest, type=Manifest), now)


def _next(change: PriceChange) -> NextPriceView:
    return NextPriceView(
        per_cast_micros=change.after.per_cast_micros,
        per_output_kib_micros=change.after.per_output_kib_micros,
        per_unit_micros=change.after.per_unit_micros,
        announced_at=datetime.fromtimestamp(change.announced_ms / 1000, tz=UTC),
        effective_at=datetime.fromtimestamp(change.effective_ms / 1000, tz=UTC),
    )


ROUTES: Final = [name_price]
