import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import cast
from uuid import UUID

import msgspec
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from domain.model.limits import INLINE_BYTES_MAX, MIB
from domain.model.messages import CastJob, Outcome, UsageEvent
from tests.workers.broker.pools import consume, take, usage_events
from tests.workers.woken import wake_ids
from workers import keys
from workers.broker import StreamsBroker, scripts, wire
from workers.broker.async_link import AsyncLink
from workers.broker.link import Command, Reply
from workers.broker.usage import CLAIM_EVERY_S

Jobs = Callable[..., CastJob]
Events = Callable[..., UsageEvent]
Encode = Callable[[object], bytes]


@pytest.fixture(params=[2, 3])
async def redis(redis_url: str, request: pytest.FixtureRequest) -> AsyncGenerator[AsyncRedis]:
    async with AsyncRedis.from_url(redis_url, protocol=request.param) as redis:
        yield redis


def add_events(client: Redis, *bodies: bytes) -> None:
    """Add usage events as a worker's flusher does."""
    for body in bodies:
        client.xadd(keys.usage("default"), {"e": body})


async def test_put_twice_adds_once(redis: AsyncRedis, client: Redis, make_job: Jobs) -> None:
    jobs = [make_job(number) for number in range(300)]
    assert await wire.put(redis, "default", jobs) == 300
    assert await wire.put(redis, "default", [*jobs, make_job(300)]) == 1
    assert client.xlen(keys.jobs("default")) == 301


async def test_racing_puts_add_once(redis: AsyncRedis, client: Redis, make_job: Jobs) -> None:
    client.script_flush()
    jobs = [make_job(number) for number in range(200)]
    added = await asyncio.gather(*(wire.put(redis, "default", jobs) for _ in range(8)))
    assert sum(added) == 200
    assert client.xlen(keys.jobs("default")) == 200


async def test_a_script_loaded_between_two_runs_leaves_the_count_whole(
    redis: AsyncRedis, client: Redis, make_job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = AsyncLink.run

    async def another_loads_it_after_the_first(
        link: AsyncLink, commands: Sequence[Command], *, within_s: float | None
    ) -> list[Reply]:
        assert within_s is None
        first, loaded, *later = await run(link, [commands[0], ("SCRIPT", "LOAD", scripts.PUT.text), *commands[1:]])
        assert loaded == scripts.PUT.sha.encode()
        return [first, *later]

    client.script_flush()
    monkeypatch.setattr(AsyncLink, "run", another_loads_it_after_the_first)
    assert await wire.put(redis, "default", [make_job(number) for number in range(200)]) == 200
    assert client.xlen(keys.jobs("default")) == 200


async def test_missing_are_those_not_on_the_wire(redis: AsyncRedis, make_job: Jobs) -> None:
    await wire.put(redis, "default", [make_job(number) for number in range(0, 2_500, 2)])
    absent = await wire.missing(redis, "default", [UUID(int=number) for number in range(2_500)])
    assert [cast_id.int for cast_id in absent] == list(range(1, 2_500, 2))
    assert await wire.missing(redis, "default", []) == []


async def test_a_job_arrives_as_it_was_put(redis: AsyncRedis, broker: StreamsBroker, make_job: Jobs) -> None:
    job = make_job(1, input=b"\x00\xff bytes", traceparent="00-1-2-01")
    await wire.put(redis, "default", [job])
    [message] = await asyncio.to_thread(take, consume(broker), 1)
    assert message.actor_name == wire.CAST_ACTOR
    assert wire.decode_job(message.args[0]) == job


async def test_long_input_lies_beside_the_stream(redis: AsyncRedis, broker: StreamsBroker, make_job: Jobs) -> None:
    text = b"x" * (INLINE_BYTES_MAX + 1)
    await wire.put(redis, "default", [make_job(1, input=text)])
    assert await redis.memory_usage(keys.jobs("default")) < INLINE_BYTES_MAX
    [message] = await asyncio.to_thread(take, consume(broker), 1)
    assert wire.decode_job(message.args[0]).input is None
    assert await asyncio.to_thread(broker.load_input, message) == text
    assert 0 < await redis.pttl(keys.input_beside("default", UUID(int=1))) <= 1_500_000


async def test_of_a_batch_only_what_is_new_is_added_and_each_input_lies_at_its_own_cast(
    redis: AsyncRedis, client: Redis, make_job: Jobs
) -> None:
    first, second = (letter * (INLINE_BYTES_MAX + 1) for letter in (b"1", b"2"))
    assert await wire.put(redis, "default", [make_job(0), make_job(1, input=first)]) == 2
    again = [make_job(3), make_job(1, input=second), make_job(2, input=second), make_job(4), make_job(4)]
    assert await wire.put(redis, "default", again) == 3
    entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrange(keys.jobs("default")))
    found = [UUID(msgspec.msgpack.decode(fields[b"m"])["message_id"]).int for _, fields in entries]
    assert found == [0, 1, 3, 2, 4]
    inputs = [client.get(keys.input_beside("default", UUID(int=number))) for number in range(5)]
    assert inputs == [None, first, second, None, None]


async def test_state_counts_what_is_there(redis: AsyncRedis, client: Redis, make_job: Jobs) -> None:
    await wire.put(redis, "default", [make_job(1), make_job(2)])
    add_events(client, b"1")
    state = await wire.wire_state(redis, "default")
    assert (state.casts_open, state.usage_length) == (2, 1)
    assert 0 < state.used_memory_bytes < state.memory_bytes_max


async def test_removed_casts_may_be_put_again(redis: AsyncRedis, make_job: Jobs) -> None:
    await wire.put(redis, "default", [make_job(1, input=b"x" * MIB)])
    await wire.remove(redis, "default", [UUID(int=1)])
    assert await redis.exists(keys.input_beside("default", UUID(int=1))) == 0
    assert await wire.put(redis, "default", [make_job(1)]) == 1


async def test_finish_takes_the_cast_off_the_wire_and_wakes(
    redis: AsyncRedis, client: Redis, make_job: Jobs, make_event: Events, encode: Encode
) -> None:
    await wire.put(redis, "default", [make_job(1), make_job(2)])
    await wire.request_cancel(redis, "default", [UUID(int=1)])
    client.set(keys.output_beside("default", UUID(int=1)), b"long")
    add_events(client, encode(make_event(1, output_beside=True)), encode(make_event(2, outcome=None)))
    reader = wire.UsageReader(redis, "default", "one")
    entries = await reader.read(block_ms=0)
    assert [(entry.event, entry.output) for entry in entries] == [
        (make_event(1, output_beside=True), b"long"),
        (make_event(2, outcome=None), None),
    ]
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(keys.wake_channel())
        await pubsub.get_message(timeout=60)
        await reader.finish(entries, UUID(int=1).bytes + UUID(int=2).bytes)
        await reader.finish(entries)
        woken = await pubsub.get_message(timeout=60)
    assert woken is not None
    assert wake_ids(woken["data"]) == [UUID(int=1), UUID(int=2)]
    assert client.xlen(keys.usage("default")) == 0
    # The second cast only said that it runs.
    assert client.smembers(keys.open_set("default")) == {UUID(int=2).bytes}
    assert client.exists(keys.canceled("default"), keys.output_beside("default", UUID(int=1))) == 0


async def test_unfinished_events_go_to_another_ledger(
    redis: AsyncRedis, client: Redis, make_event: Events, encode: Encode
) -> None:
    add_events(client, *(encode(make_event(number)) for number in range(3)))
    dying = wire.UsageReader(redis, "default", "dying")
    assert len(await dying.read(block_ms=0)) == 3
    assert await wire.UsageReader(redis, "default", "early").read(block_ms=0) == []
    heir = wire.UsageReader(redis, "default", "heir", claim_idle_ms=0)
    entries = await heir.read(block_ms=0)
    assert [entry.event.cast_id.int for entry in entries if entry.event] == [0, 1, 2]
    await heir.finish(entries)
    assert client.xpending(keys.usage("default"), keys.usage_group())["pending"] == 0


async def test_a_ledger_looks_for_what_others_left_once_in_a_while(
    redis: AsyncRedis, client: Redis, make_event: Events, encode: Encode
) -> None:
    heir = wire.UsageReader(redis, "default", "heir", claim_idle_ms=0)
    assert await heir.read(block_ms=0) == []
    add_events(client, encode(make_event(1)))
    assert len(await wire.UsageReader(redis, "default", "dying").read(block_ms=0)) == 1
    assert await heir.read(block_ms=0) == [], "it has just looked"
    heir._claim_at -= CLAIM_EVERY_S
    assert [entry.event for entry in await heir.read(block_ms=0)] == [make_event(1)]


async def test_reading_goes_on_after_flushall(
    redis: AsyncRedis, client: Redis, make_event: Events, encode: Encode
) -> None:
    reader = wire.UsageReader(redis, "default", "one")
    assert await reader.read(block_ms=10) == []
    client.flushall()
    add_events(client, encode(make_event(1)))
    assert [entry.event for entry in await reader.read(block_ms=10)] == [make_event(1)]


async def test_undecodable_events_are_parked_and_newer_ones_left(
    redis: AsyncRedis, client: Redis, make_event: Events, encode: Encode
) -> None:
    newer = {"v": 2, "cast": "of another shape"}
    add_events(client, b"\xc1", encode(make_event(1, v=9)), encode(newer), encode(make_event(2)))
    reader = wire.UsageReader(redis, "default", "one")
    undecodable, good = await reader.read(block_ms=0)
    assert (undecodable.event, undecodable.raw) == (None, b"\xc1")
    assert good.event == make_event(2)
    await reader.park(undecodable, "undecodable")
    await reader.finish([good])
    assert client.xlen(keys.usage("default")) == 2
    [(_, fields)] = client.xrange(keys.usage_dead("default"))
    assert fields == {b"e": b"\xc1", b"r": b"undecodable"}


async def test_an_entry_stays_until_each_of_its_events_is_finished_or_parked(
    redis: AsyncRedis, client: Redis, make_event: Events, encode: Encode
) -> None:
    bodies = [encode(make_event(1)), b"\xc1", encode(make_event(2)), encode(make_event(3))]
    client.xadd(keys.usage("default"), {"es": encode(bodies)})
    reader = wire.UsageReader(redis, "default", "one")
    first, undecodable, second, third = await reader.read(block_ms=0)
    assert [entry.event for entry in (first, undecodable, second, third)] == [
        make_event(1),
        None,
        make_event(2),
        make_event(3),
    ]
    for _ in range(2):
        await reader.finish([first, third])
    assert client.xlen(keys.usage("default")) == 1
    await reader.park(undecodable, "undecodable")
    assert client.xlen(keys.usage("default")) == 1
    heir = wire.UsageReader(redis, "default", "heir", claim_idle_ms=0)
    assert [entry.event for entry in await heir.read(block_ms=0)] == [make_event(1), None, make_event(2), make_event(3)]
    await reader.finish([second])
    assert client.xlen(keys.usage("default")) == 0
    assert client.xpending(keys.usage("default"), keys.usage_group())["pending"] == 0
    [(_, fields)] = client.xrange(keys.usage_dead("default"))
    assert fields == {b"e": b"\xc1", b"r": b"undecodable"}


async def test_a_newer_bundle_is_left_whole_and_what_is_none_is_one_event(
    redis: AsyncRedis, client: Redis, make_event: Events, encode: Encode
) -> None:
    bundles = (encode([encode(make_event(1)), encode(make_event(2, v=9))]), b"\xc1", encode([]), encode([1, "2"]))
    for bundle in bundles:
        client.xadd(keys.usage("default"), {"es": bundle})
    reader = wire.UsageReader(redis, "default", "one")
    entries = await reader.read(block_ms=0)
    assert [(entry.event, entry.raw) for entry in entries] == [(None, bundle) for bundle in bundles[1:]]
    await reader.finish(entries)
    assert client.xlen(keys.usage("default")) == 1


async def test_a_batch_may_end_inside_an_entry(
    redis: AsyncRedis, client: Redis, make_event: Events, encode: Encode
) -> None:
    client.xadd(keys.usage("default"), {"es": encode([encode(make_event(number)) for number in range(5)])})
    reader = wire.UsageReader(redis, "default", "one")
    begun = await reader.read(block_ms=0, count_max=3)
    await reader.finish(begun)
    add_events(client, encode(make_event(5)))
    assert client.xlen(keys.usage("default")) == 2
    rest = await reader.read(block_ms=0, count_max=3)
    await reader.finish(rest)
    assert client.xlen(keys.usage("default")) == 0
    numbers = [[entry.event.cast_id.int for entry in entries if entry.event] for entries in (begun, rest)]
    assert numbers == [[0, 1, 2], [3, 4, 5]], "what is carried over is filled up"


async def test_parking_keeps_a_cast_open_unless_it_is_final(
    redis: AsyncRedis, client: Redis, make_job: Jobs, make_event: Events, encode: Encode
) -> None:
    await wire.put(redis, "default", [make_job(1)])
    add_events(client, encode(make_event(1)), encode(make_event(1)))
    reader = wire.UsageReader(redis, "default", "one")
    forged, culprit = await reader.read(block_ms=0)
    await reader.park(forged, "wrong token")
    assert await wire.missing(redis, "default", [UUID(int=1)]) == []
    await reader.park(culprit, "breaks its batch", final=True)
    assert await wire.missing(redis, "default", [UUID(int=1)]) == [UUID(int=1)]


async def test_a_batch_ends_at_its_bounds_and_loses_nothing(
    redis: AsyncRedis, client: Redis, make_event: Events, encode: Encode
) -> None:
    for number in range(4):
        client.set(keys.output_beside("default", UUID(int=number)), b"o" * MIB)
    add_events(client, *(encode(make_event(number, output_beside=True)) for number in range(4)))
    add_events(client, *(encode(make_event(number)) for number in range(4, 10)))
    reader = wire.UsageReader(redis, "default", "one")
    read: list[list[int]] = []
    for bounds in ({"bytes_max": 2 * MIB + 4096}, {"bytes_max": 10}, {"count_max": 3}, {}):
        entries = await reader.read(block_ms=0, **bounds)
        read.append([entry.event.cast_id.int for entry in entries if entry.event])
        await reader.finish(entries)
    assert read == [[0, 1], [2], [3, 4, 5], [6, 7, 8, 9]]
    assert client.xlen(keys.usage("default")) == 0


async def test_a_whole_cast_passes(
    redis: AsyncRedis, broker: StreamsBroker, client: Redis, make_job: Jobs, make_event: Events
) -> None:
    encode = msgspec.msgpack.encode
    await wire.put(redis, "default", [make_job(1)])
    consumer = consume(broker)
    [message] = await asyncio.to_thread(take, consumer, 1)
    broker.progress(message, encode(make_event(1, outcome=None)))
    broker.report(message, encode(make_event(1, outcome=Outcome.TRAP)))
    consumer.ack(message)
    assert await asyncio.to_thread(broker.flush_acknowledgements)
    assert [event.outcome for event in usage_events(client)] == [None, Outcome.TRAP]
    reader = wire.UsageReader(redis, "default", "one")
    await reader.finish(await reader.read())
    assert await wire.missing(redis, "default", [UUID(int=1)]) == [UUID(int=1)]
    lasting = (keys.jobs, keys.usage, keys.workers, keys.worker_facts)
    assert set(client.keys()) <= {name("default").encode() for name in lasting}, "Something of a cast stayed in Redis."
    assert client.xlen(keys.jobs("default")) + client.xlen(keys.usage("default")) == 0
