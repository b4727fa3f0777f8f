"""A version's price as rows: who is held at which, whatever the api has in memory, and whatever is said later."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest

from domain.flow.set_spell_price import PricedVersion, set_spell_price
from domain.flow.settle import settle
from domain.model.admission import Accepted, Judged
from domain.model.audit import OPERATOR
from domain.model.creator_price import NO_PRICE, CreatorPrice, PriceChange
from domain.model.errors import Code, RefusedError
from domain.model.jobs import job_of
from domain.store.connection import Pool, transaction
from domain.store.spell_prices import prices_latest
from tests.domain import fake_clock
from tests.domain.events import event_of
from tests.domain.world import HOLD, TOKEN_KEY, World, admit, standing

NOTICE = timedelta(days=14)
UNITS = '{"units": {"name": "page", "max": 40}, "limits": {"output_bytes": 4096}}'


async def name_price(world: World, pool: Pool, price: CreatorPrice, *, owner: str | None = None) -> PricedVersion:
    async with transaction(pool) as connection:
        return await set_spell_price(
            connection,
            account_id=world.creator_id,
            owner=owner or f"a{world.creator_id.hex[:12]}",
            name="wordcount",
            version="1.0.0",
            asked=price,
            actor=OPERATOR,
            now=datetime.now(UTC),
        )


def fixed(micros: int) -> CreatorPrice:
    return CreatorPrice(per_cast_micros=micros)


async def accept(world: World, pool: Pool, price: PriceChange | None) -> Accepted:
    """Cast as an api does that has `price` in memory."""
    spec = msgspec.structs.replace(world.spec(), price=price)
    (verdict,) = await admit(pool, world.request(spec))
    assert isinstance(verdict, Judged)
    (result,) = verdict.results
    assert isinstance(result, Accepted)
    return result


async def begin(world: World, pool: Pool, micros: int) -> PriceChange:
    """Give the version a price that has been in force for a while."""
    await name_price(world, pool, fixed(micros))
    await fake_clock.move_to(world.database_url, NOTICE + timedelta(days=1))
    async with transaction(pool) as connection:
        return (await prices_latest(connection, [world.version_id]))[world.version_id]


@pytest.fixture(autouse=True)
async def clock(world: World) -> None:
    await fake_clock.install(world.database_url)


async def test_a_fall_counts_for_the_next_cast_in_every_api(world: World, pool: Pool) -> None:
    old = await begin(world, pool, 500)
    assert (await accept(world, pool, old)).held_micros == HOLD + 500
    await name_price(world, pool, fixed(20))
    assert (await accept(world, pool, old)).held_micros == HOLD + 20


async def test_a_rise_counts_after_the_notice_and_never_for_what_was_accepted(world: World, pool: Pool) -> None:
    old = await begin(world, pool, 500)
    early = await accept(world, pool, old)
    risen = (await name_price(world, pool, fixed(900))).price
    assert risen is not None
    days = timedelta(days=15)
    await fake_clock.move_to(world.database_url, days + NOTICE - timedelta(minutes=1))
    assert (await accept(world, pool, old)).held_micros == HOLD + 500
    await fake_clock.move_to(world.database_url, days + NOTICE + timedelta(seconds=1))
    assert (await accept(world, pool, old)).held_micros == HOLD + 900
    async with transaction(pool) as connection:
        events = [event_of(job_of(early, TOKEN_KEY))]
        (ended,) = (await settle(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)).endings
    assert ended.charge.cost_micros == 1_002 + 500


async def test_the_same_price_twice_is_said_once(world: World, pool: Pool) -> None:
    first = await name_price(world, pool, fixed(500))
    await fake_clock.move_to(world.database_url, timedelta(days=3))
    again = await name_price(world, pool, fixed(500))
    assert again.price == first.price
    rows = await world.rows("SELECT number FROM spell_prices WHERE version_id = %s", world.version_id)
    assert rows == [(1,)]
    log = await world.rows("SELECT action FROM audit_log WHERE account_id = %s", world.creator_id)
    assert log == [("price.announce",)]


async def test_parts_are_held_at_their_most_and_charged_as_used(world: World, pool: Pool) -> None:
    await world.rows(
        "UPDATE spell_versions SET manifest = %s, imports = '{report_units}' WHERE id = %s", UNITS, world.version_id
    )
    parts = CreatorPrice(per_cast_micros=10, per_output_kib_micros=7, per_unit_micros=3)
    named = (await name_price(world, pool, parts)).price
    assert named is not None
    assert named.after.units_max == 40
    await fake_clock.move_to(world.database_url, NOTICE + timedelta(seconds=1))
    accepted = await accept(world, pool, named)
    assert accepted.held_micros == HOLD + 10 + 7 * 1_024 + 3 * 40  # the test's cast has the default output limit
    event = event_of(job_of(accepted, TOKEN_KEY), units=1_000, output=b"x" * 1_025)
    for _ in range(2):
        async with transaction(pool) as connection:
            await settle(connection, [event], batch_id=uuid4(), token_key=TOKEN_KEY)
    rows = await world.rows(
        "SELECT cost_micros, units, output_bytes, creator_rates FROM casts WHERE id = %s", accepted.cast_id
    )
    assert rows == [(1_002 + 10 + 14 + 120, 1_000, 1_025, [7, 3, 40])]
    share = await world.rows("SELECT sum(amount_micros) FROM ledger_transfers WHERE kind = 'creator_share'")
    assert share == [(144 - 28,)]


async def test_units_that_cannot_be_are_parked(world: World, pool: Pool) -> None:
    accepted = await accept(world, pool, None)
    for units in (-1, 1_000_001):
        event = event_of(job_of(accepted, TOKEN_KEY), units=units)
        async with transaction(pool) as connection:
            done = await settle(connection, [event], batch_id=uuid4(), token_key=TOKEN_KEY)
        assert [reason for _, reason in done.parked] == ["the units are negative or more than anybody can report"]


async def test_a_price_nobody_named_is_none(world: World, pool: Pool) -> None:
    assert (await name_price(world, pool, NO_PRICE)).price is None
    accepted = await accept(world, pool, standing(world.version_id, 3))
    assert accepted.held_micros == HOLD + 3, "without a row what the edge knows decides"


async def test_per_unit_needs_a_version_that_counts(world: World, pool: Pool) -> None:
    with pytest.raises(RefusedError) as caught:
        await name_price(world, pool, CreatorPrice(per_unit_micros=1))
    assert caught.value.refusal.code is Code.VALIDATION
    with pytest.raises(RefusedError) as caught:
        await name_price(world, pool, fixed(1), owner="somebody")
    assert caught.value.refusal.code is Code.NOT_FOUND
