"""News are kept once, taken by one at a time, and given up neither too early nor too late."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from domain.flow import stripe_inbox
from domain.flow.stripe_inbox import AWAY_PAUSE_S
from domain.model.stripe_events import ATTEMPTS_MAX, StripeEvent
from domain.store import stripe_events as store
from domain.store.connection import Pool, transaction
from domain.store.stripe_events import TakenEvent
from tests.domain.world import World

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
LEASE = timedelta(minutes=5)
TYPES = ["invoice.paid", "charge.refunded"]


def event(number: int, kind: str = "invoice.paid") -> StripeEvent:
    return StripeEvent(
        id=f"evt_{number}",
        type=kind,
        object_id=f"in_{number}",
        customer_id="cus_1",
        connected_account_id=None,
        made_at=NOW,
    )


async def keep(pool: Pool, *events: StripeEvent) -> list[bool]:
    async with transaction(pool) as connection:
        return [await stripe_inbox.receive(connection, each, now=NOW) for each in events]


async def take(pool: Pool, now: datetime = NOW, limit: int = 100) -> list[TakenEvent]:
    async with transaction(pool) as connection:
        return await stripe_inbox.take(connection, types=TYPES, limit=limit, lease=LEASE, now=now)


async def later(pool: Pool, events: list[TakenEvent], *, now: datetime = NOW, counted: bool = True) -> list[str]:
    async with transaction(pool) as connection:
        parked = await stripe_inbox.try_later(connection, events, trouble="no" * 500, counted=counted, now=now)
    return [each.id for each in parked]


async def statuses(world: World) -> dict[str, str]:
    return dict(await world.rows("SELECT id, status FROM stripe_events ORDER BY id"))


async def test_an_event_is_kept_once(world: World, pool: Pool) -> None:
    assert await keep(pool, event(1), event(1), event(2)) == [True, False, True]
    changed = msgspec.structs.replace(event(1), object_id="in_other")
    assert await keep(pool, changed) == [False]
    assert await world.rows("SELECT object_id FROM stripe_events WHERE id = 'evt_1'") == [("in_1",)]


async def test_many_who_keep_the_same_at_once(world: World, pool: Pool) -> None:
    barrier = asyncio.Barrier(8)

    async def one() -> bool:
        async with transaction(pool) as connection:
            await barrier.wait()
            return await stripe_inbox.receive(connection, event(1), now=NOW)

    assert sorted(await asyncio.gather(*[one() for _ in range(8)])) == [False] * 7 + [True]
    assert await statuses(world) == {"evt_1": "pending"}


async def test_what_is_taken_is_nobody_elses_until_its_lease_ends(pool: Pool) -> None:
    await keep(pool, event(1), event(2))
    first = await take(pool, limit=1)
    second = await take(pool)
    assert [[each.id for each in some] for some in (first, second)] == [["evt_1"], ["evt_2"]]
    assert first[0].asked_at == NOW
    assert await take(pool, NOW + LEASE - timedelta(seconds=1)) == []
    again = await take(pool, NOW + LEASE)
    assert [(each.id, each.attempts) for each in again] == [("evt_1", 2), ("evt_2", 2)]


async def test_takers_at_once_share_nothing(pool: Pool) -> None:
    await keep(pool, *[event(number) for number in range(40)])
    barrier = asyncio.Barrier(4)

    async def one() -> list[TakenEvent]:
        await barrier.wait()
        return await take(pool, limit=10)

    taken = [each.id for some in await asyncio.gather(*[one() for _ in range(4)]) for each in some]
    assert len(taken) == len(set(taken)) >= 10


async def test_what_is_done_stays_done(world: World, pool: Pool) -> None:
    await keep(pool, event(1))
    taken = await take(pool)
    for _ in range(2):
        async with transaction(pool) as connection:
            await stripe_inbox.finish(connection, taken)
    assert await later(pool, taken) == []
    assert await statuses(world) == {"evt_1": "applied"}
    assert await take(pool, NOW + timedelta(days=1)) == []
    assert await keep(pool, event(1)) == [False]


async def test_what_nobody_asks_for_is_put_away_and_taken_up_when_somebody_does(world: World, pool: Pool) -> None:
    await keep(pool, event(1, "charge.succeeded"), event(2))
    assert [each.id for each in await take(pool)] == ["evt_2"]
    assert (await statuses(world))["evt_1"] == "ignored"
    async with transaction(pool) as connection:
        assert await store.events_revive(connection, types=TYPES, within=LEASE) == 0
        assert await store.events_revive(connection, types=["charge.succeeded"], within=LEASE) == 1
    assert (await statuses(world))["evt_1"] == "pending"


async def test_a_failing_event_waits_longer_each_time_and_is_parked_in_the_end(world: World, pool: Pool) -> None:
    await keep(pool, event(1))
    now, pauses = NOW, []
    for attempt in range(1, ATTEMPTS_MAX + 1):
        taken = await take(pool, now)
        assert [each.attempts for each in taken] == [attempt]
        parked = await later(pool, taken, now=now)
        assert (parked == ["evt_1"]) == (attempt == ATTEMPTS_MAX)
        (due,) = (await world.rows("SELECT next_attempt_at FROM stripe_events"))[0]
        pauses.append((due - now).total_seconds())
        now = max(due, now)
    assert pauses[:-1] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600]
    assert await statuses(world) == {"evt_1": "parked"}
    assert await take(pool, now + timedelta(days=9)) == []


async def test_an_outage_of_stripe_parks_nothing(world: World, pool: Pool) -> None:
    await keep(pool, event(1))
    now = NOW
    for _ in range(3 * ATTEMPTS_MAX):
        taken = await take(pool, now)
        assert [each.attempts for each in taken] == [1]
        assert await later(pool, taken, now=now, counted=False) == []
        now += timedelta(seconds=AWAY_PAUSE_S)
    assert await statuses(world) == {"evt_1": "pending"}


async def test_a_person_has_parked_events_tried_again(world: World, pool: Pool) -> None:
    await keep(pool, event(1), event(2), event(3))
    taken = await take(pool)
    async with transaction(pool) as connection:
        await store.events_park(connection, ids=["evt_1", "evt_2"], trouble="why")
        parked = await store.events_parked(connection, limit=10)
        standing = await store.standing_read(connection)
    assert [(each.id, each.type, each.trouble) for each in parked] == [
        ("evt_1", "invoice.paid", "why"),
        ("evt_2", "invoice.paid", "why"),
    ]
    assert (standing.pending, standing.parked) == (1, 2)
    assert len(taken) == 3
    async with transaction(pool) as connection:
        assert await store.events_unpark(connection, ids=["evt_1", "evt_3"]) == 1
        assert await store.events_unpark(connection, ids=None) == 1
    assert set((await statuses(world)).values()) == {"pending"}


async def test_how_late_the_oldest_is(pool: Pool) -> None:
    async with transaction(pool) as connection:
        assert (await store.standing_read(connection)).overdue_s == 0
        await stripe_inbox.receive(connection, event(1), now=datetime.now(UTC) - timedelta(hours=1))
        assert 3_600 <= (await store.standing_read(connection)).overdue_s < 3_700


@pytest.mark.parametrize(("status", "kept"), [("applied", 0), ("ignored", 0), ("parked", 1), ("pending", 1)])
async def test_what_was_done_long_ago_is_forgotten(world: World, pool: Pool, status: str, kept: int) -> None:
    await keep(pool, event(1))
    await world.rows(
        "UPDATE stripe_events SET status = %s, finished_at = CASE WHEN %s = 'pending' THEN NULL ELSE %s END",
        *(status, status, NOW),
    )
    async with transaction(pool) as connection:
        assert await store.events_trim(connection, before=NOW, limit=10) == 0
        await store.events_trim(connection, before=NOW + timedelta(seconds=1), limit=10)
    assert len(await statuses(world)) == kept
