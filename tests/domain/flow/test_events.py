"""Events come out of the gate: one for each cast that ends and each receiver, however often its end is reported."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest

from domain.flow.cancel import cancel
from domain.flow.close import close
from domain.flow.delete_webhook import delete_webhook
from domain.flow.expire import expire
from domain.flow.follow_events import LAST, events_since
from domain.flow.settle import settle
from domain.flow.update_webhook import WebhookChange, update_webhook
from domain.model.admission import CastSpec
from domain.model.audit import OPERATOR
from domain.model.events import EVENT_DATA_BYTES_MAX
from domain.model.messages import Outcome, UsageEvent
from domain.model.settlement import ending_without_run
from domain.store import settlement as store
from domain.store.connection import Pool, transaction
from domain.store.deliveries import deliveries_of_cast
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.receivers import start_following, subscribe, told
from tests.domain.world import TOKEN_KEY, World

URL = "https://example.com/of-the-cast"


async def run_settle(pool: Pool, *events: UsageEvent) -> None:
    async with transaction(pool) as connection:
        await settle(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)


async def settle_and_break(pool: Pool, event: UsageEvent) -> None:
    async with transaction(pool) as connection:
        await settle(connection, [event], batch_id=uuid4(), token_key=TOKEN_KEY)
        raise RuntimeError


def asking(world: World, url: str | None = URL) -> CastSpec:
    return msgspec.structs.replace(world.spec(), webhook_url=url)


async def test_a_cast_that_ends_is_told_once_to_each_receiver(world: World, pool: Pool) -> None:
    all_of_it, casts, failures = [
        await subscribe(pool, world.account_id, *types) for types in (("*",), ("cast.*",), ("cast.failed", "budget.*"))
    ]
    await subscribe(pool, world.creator_id)  # the creator hears nothing of who casts
    job, silent = await accept(world, pool, asking(world), asking(world, None))
    await run_settle(pool, event_of(job), event_of(job), event_of(silent, None))
    await run_settle(pool, event_of(job), event_of(job, Outcome.TRAP))
    rows = await told(world)
    assert {(row.event_type, row.event_id, row.kind, row.status) for row in rows} == {
        ("cast.succeeded", job.cast_id, "webhook", "pending")
    }
    assert sorted((str(row.endpoint_id), row.target) for row in rows) == sorted(
        [(str(all_of_it), None), (str(casts), None), ("None", URL)]
    )
    assert failures not in {row.endpoint_id for row in rows}
    async with transaction(pool) as connection:
        for account_id, found in ((world.account_id, [URL]), (world.creator_id, [])):
            listed = await deliveries_of_cast(connection, account_id=account_id, cast_id=job.cast_id)
            assert [row.target for row in listed] == found
    assert await broken(world.database_url) == {}


async def test_what_the_gate_does_not_return_is_not_told(world: World, pool: Pool) -> None:
    """A caller that looked before the lock: what it knows of the cast is old."""
    await subscribe(pool, world.account_id)
    done, still_open = await accept(world, pool, asking(world), asking(world))
    async with transaction(pool) as connection:
        _, old, _ = await store.lock_and_read(connection, [done.cast_id, still_open.cast_id])
    await run_settle(pool, event_of(done))
    async with transaction(pool) as connection:
        late = [ending_without_run(cast, Outcome.CANCELED) for cast in old]
        await close(connection, late, batch_id=uuid4(), token_key=TOKEN_KEY)
    found = sorted((row.event_type, row.event_id) for row in await told(world))
    assert found == [("cast.canceled", still_open.cast_id)] * 2 + [("cast.succeeded", done.cast_id)] * 2


async def test_an_endpoint_that_is_disabled_or_deleted_hears_nothing(world: World, pool: Pool) -> None:
    heard, disabled, deleted = [await subscribe(pool, world.account_id) for _ in range(3)]
    async with transaction(pool) as connection:
        await update_webhook(
            connection,
            account_id=world.account_id,
            endpoint_id=disabled,
            change=WebhookChange(disabled=True),
            private_allowed=(),
            actor=OPERATOR,
        )
    async with transaction(pool) as connection:
        await delete_webhook(connection, account_id=world.account_id, endpoint_id=deleted, actor=OPERATOR)
    (job,) = await accept(world, pool)
    await run_settle(pool, event_of(job))
    assert [row.endpoint_id for row in await told(world)] == [heard]


async def test_every_way_to_end_is_told(world: World, pool: Pool) -> None:
    await subscribe(pool, world.account_id)
    done, failed, canceled, poisoned, late = await accept(world, pool, *[world.spec()] * 5)
    await run_settle(pool, event_of(done), event_of(failed, Outcome.TRAP), event_of(poisoned, Outcome.POISON))
    async with transaction(pool) as connection:
        await cancel(connection, world.account_id, [canceled.cast_id], batch_id=uuid4(), token_key=TOKEN_KEY)
    for _ in range(2):
        async with transaction(pool) as connection:
            after = datetime.fromtimestamp(late.deadline_ms / 1000, tz=UTC) + timedelta(hours=1)
            await expire(connection, now=after, batch_id=uuid4(), token_key=TOKEN_KEY)
    assert {row.event_id: row.event_type for row in await told(world)} == {
        done.cast_id: "cast.succeeded",
        failed.cast_id: "cast.failed",
        canceled.cast_id: "cast.canceled",
        poisoned.cast_id: "cast.failed",
        late.cast_id: "cast.expired",
    }
    assert len(await told(world)) == 5


async def test_nobody_to_tell_writes_nothing(world: World, pool: Pool) -> None:
    (job,) = await accept(world, pool)
    await run_settle(pool, event_of(job))
    assert await told(world) == []


async def test_a_batch_rolled_back_tells_nothing(world: World, pool: Pool) -> None:
    await subscribe(pool, world.account_id)
    (job,) = await accept(world, pool)
    with pytest.raises(RuntimeError):
        await settle_and_break(pool, event_of(job))
    assert await told(world) == []


async def test_who_follows_reads_every_event_once_in_order(world: World, pool: Pool) -> None:
    (before,) = await accept(world, pool)
    await run_settle(pool, event_of(before))
    following = await start_following(pool, world.account_id)
    jobs = await accept(world, pool, *[world.spec()] * 3)
    position, seen = (following.since, LAST), []
    for job in jobs:
        await run_settle(pool, event_of(job))
        async with transaction(pool) as connection:
            found = await events_since(
                connection, account_id=world.account_id, after=position, casts_url="http://spells/v1/casts"
            )
        position = (found[-1][0].created_at, found[-1][0].id)
        seen += [(event.event_id, msgspec.json.decode(body)) for event, body in found if body is not None]
    assert [event_id for event_id, _ in seen] == [job.cast_id for job in jobs]
    body = seen[0][1]
    assert (body["type"], body["data"]["id"]) == ("cast.succeeded", str(jobs[0].cast_id))
    assert (body["data"]["output"], body["data"]["data_omitted"]) == ({"words": 3}, False)
    assert body["data"]["urls"]["self"] == f"http://spells/v1/casts/{jobs[0].cast_id}"
    assert {row.status for row in await told(world)} == {"delivered"}  # no courier will send them
    async with transaction(pool) as connection:
        for account_id in (world.creator_id, uuid4()):
            after = (following.since, LAST)
            assert await events_since(connection, account_id=account_id, after=after, casts_url="x") == []


async def test_nothing_is_kept_for_who_went_away(world: World, pool: Pool) -> None:
    await start_following(pool, world.account_id)
    await world.rows("UPDATE accounts SET listening_until = now() - interval '1 second'")
    (job,) = await accept(world, pool)
    await run_settle(pool, event_of(job))
    assert await told(world) == []


async def test_long_data_and_data_read_once_stay_behind(world: World, pool: Pool) -> None:
    following = await start_following(pool, world.account_id)
    long, once = await accept(world, pool, *[world.spec()] * 2)
    await run_settle(pool, event_of(long, output=b"7" * (EVENT_DATA_BYTES_MAX + 1)))
    await world.rows("UPDATE accounts SET data_days = 0")
    await run_settle(pool, event_of(once))
    async with transaction(pool) as connection:
        after = (following.since, LAST)
        found = await events_since(connection, account_id=world.account_id, after=after, casts_url="x")
    views = [msgspec.json.decode(body)["data"] for _, body in found if body is not None]
    assert [(view["output"], view["data_omitted"]) for view in views] == [(None, True), (None, True)]
    assert await world.rows("SELECT count(*) FROM casts WHERE output IS NULL") == [(0,)]
