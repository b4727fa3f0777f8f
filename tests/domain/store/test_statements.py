"""What each statement of admission and settlement touches, and what it must leave alone (`make mutants`)."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec

from domain.flow.cancel import cancel
from domain.flow.settle import Settled, settle
from domain.model.admission import Accepted, Judged
from domain.model.jobs import job_of
from domain.model.messages import Outcome, UsageEvent
from domain.model.messages import Pool as WorkerPool
from domain.store import admission, settlement, usage
from domain.store.connection import Connection, Pool, statement, transaction
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.world import TERMS, TOKEN_KEY, World, admit, make_world

FIRST, LAST = UUID(int=0), UUID(int=2**128 - 1)
WAITING = "SELECT id FROM casts WHERE NOT on_wire AND account_id = %s ORDER BY id"
ROWS_OF = (
    "SELECT to_jsonb(a) FROM accounts a WHERE id = %(id)s",
    "SELECT to_jsonb(k) FROM api_keys k WHERE account_id = %(id)s",
    "SELECT to_jsonb(w) FROM budget_windows w WHERE account_id = %(id)s ORDER BY id",
    "SELECT to_jsonb(m) FROM account_months m WHERE account_id = %(id)s ORDER BY month",
    "SELECT to_jsonb(g) FROM credit_grants g WHERE account_id = %(id)s ORDER BY id",
    "SELECT to_jsonb(c) FROM casts c WHERE account_id = %(id)s ORDER BY id",
)


async def settle_all(pool: Pool, *events: UsageEvent) -> Settled:
    async with transaction(pool) as connection:
        return await settle(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)


async def add_grant(world: World, micros: int, *, held: int = 0) -> None:
    await world.rows(
        "INSERT INTO credit_grants (id, account_id, priority, granted_micros, balance_micros, held_micros)"
        " VALUES (%s, %s, 1, greatest(%s, 1), %s, %s)",
        uuid4(), world.account_id, micros, micros, held,
    )  # fmt: skip


async def rows_of(world: World) -> list[list[tuple[Any, ...]]]:
    return [await world.rows(query.replace("%(id)s", "%s"), world.account_id) for query in ROWS_OF]


async def read_as_it_lies(connection: Connection) -> None:
    """Have tables read from front to back: order comes from the statement or not at all."""
    await connection.execute(b"DISCARD PLANS")  # what was planned by key already would stay so
    await connection.execute(b"SET LOCAL enable_seqscan = on")
    for name in (b"enable_indexscan", b"enable_indexonlyscan", b"enable_bitmapscan"):
        await connection.execute(b"SET LOCAL " + name + b" = off")


async def lay_newest_first(world: World) -> None:
    """Write all casts anew: an update may put a row back into a gap before others, an INSERT after them does not."""
    stored = await columns(
        world,
        "SELECT attname FROM pg_attribute WHERE attrelid = 'casts'::regclass AND attnum > 0 AND NOT attisdropped",
    )
    names = ", ".join(stored)
    query = (
        "WITH old AS (DELETE FROM casts RETURNING *) INSERT INTO casts (NAMES) SELECT NAMES FROM old ORDER BY id DESC"
    )
    await world.rows(query.replace("NAMES", names))
    assert await columns(world, "SELECT id FROM casts ORDER BY tableoid, ctid") == await columns(
        world, "SELECT id FROM casts ORDER BY tableoid, id DESC"
    )


async def columns(world: World, query: str, *parameters: object) -> list[Any]:
    return [row[0] for row in await world.rows(query, *parameters)]


async def test_nothing_that_happens_to_one_account_touches_another(world: World, neighbour: World, pool: Pool) -> None:
    for one in (world, neighbour):
        await one.add_budget(100_000)
        await add_grant(one, 50_000)
        await accept(one, pool)
    before = await rows_of(neighbour)
    jobs = await accept(world, pool, world.spec(), world.spec(pool=WorkerPool.LARGE), world.spec())
    assert await rows_of(neighbour) == before
    await settle_all(pool, event_of(jobs[0], None), event_of(jobs[1], None))
    await settle_all(pool, event_of(jobs[0], Outcome.TRAP), event_of(jobs[1]))
    async with transaction(pool) as connection:
        await cancel(connection, world.account_id, [jobs[2].cast_id], batch_id=uuid4(), token_key=TOKEN_KEY)
    assert await rows_of(neighbour) == before
    assert await broken(world.database_url) == {}


async def test_admission_reads_only_what_is_asked_for(world: World, neighbour: World, pool: Pool) -> None:
    for one in (world, neighbour):
        await one.add_budget(100_000)
        await add_grant(one, 0)
        await add_grant(one, 7)
        await accept(one, pool, key="same")
        await one.rows(
            "INSERT INTO account_months (account_id, month, spent_micros) VALUES (%s, '2020-01-01', 5)", one.account_id
        )
    async with transaction(pool) as connection:
        _, state = await admission.lock_and_read(
            connection,
            account_ids=[world.account_id],
            key_ids=[world.key_id],
            idempotency=[(world.account_id, "same"), (neighbour.account_id, "other")],
            billing_enabled=False,
            skip_locked=False,
        )
    assert [one.id for one in state.accounts] == [world.account_id]
    assert [one.id for one in state.keys] == [world.key_id]
    assert [one.account_id for one in state.windows] == [world.account_id]
    assert [(one.account_id, one.spent_micros) for one in state.months] == [(world.account_id, 0)]
    assert [one.balance_micros for one in state.grants] == [7]
    assert [(one.account_id, one.key) for one in state.idempotency] == [(world.account_id, "same")]


async def test_whose_casts_are_metered(database_url: str, pool: Pool) -> None:
    worlds = {
        billing: await make_world(database_url, billing=billing, subscribed=False) for billing in ("off", "auto", "on")
    }
    for billing_enabled, expected in ((False, {"off", "auto"}), (True, {"off"})):
        async with transaction(pool) as connection:
            ids = [world.account_id for world in worlds.values()]
            state = await admission.read(connection, account_ids=ids, key_ids=[], billing_enabled=billing_enabled)
        metered = {account.id for account in state.accounts if account.metered}
        assert metered == {worlds[billing].account_id for billing in expected}
        assert {account.id for account in state.accounts if account.unbilled} == metered, "nobody is subscribed"


async def test_admission_finds_the_sessions_asked_for_that_are_alive(world: World, pool: Pool) -> None:
    await world.rows(
        "INSERT INTO users (id, account_id, email) VALUES (%s, %s, 'ada@example.com')", uuid4(), world.account_id
    )
    # Hours from now: of the last use, of the end by itself, of the end by somebody.
    asked = {
        name: await add_session(world, *hours)
        for name, hours in {
            "alive": (-1, 1, None),
            "ended": (-1, 1, -1),
            "expired": (-1, -1, None),
            "used a week ago less an hour": (1 - 7 * 24, 1, None),
            "used a week ago and an hour": (-1 - 7 * 24, 1, None),
        }.items()
    }
    await add_session(world, -1, 1, None)
    async with transaction(pool) as connection:
        state = await admission.read(
            connection,
            account_ids=[world.account_id],
            key_ids=[],
            session_ids=list(asked.values()),
            billing_enabled=False,
        )
    found = {name for name, session_id in asked.items() if session_id in state.sessions}
    assert found == {"alive", "used a week ago less an hour"}
    assert len(state.sessions) == 2


async def add_session(world: World, used: int, expires: int, ended: int | None) -> UUID:
    session_id = uuid4()
    await world.rows(
        "INSERT INTO sessions (id, user_id, account_id, token_hash, kind, created_at, last_used_at, expires_at,"
        " ended_at) SELECT %s, id, account_id, %s, 'browser', now(), now() + make_interval(hours => %s),"
        " now() + make_interval(hours => %s), now() + make_interval(hours => %s) FROM users WHERE account_id = %s",
        session_id, session_id.bytes * 2, used, expires, ended, world.account_id,
    )  # fmt: skip
    return session_id


async def test_free_casts_are_held_batch_by_batch(database_url: str, pool: Pool) -> None:
    world = await make_world(database_url, subscribed=False)
    terms = msgspec.structs.replace(TERMS, billing_enabled=True, free_casts_per_month=10)
    for _ in range(2):
        (verdict,) = await admit(pool, world.request(world.spec(), world.spec()), terms=terms)
        assert isinstance(verdict, Judged)
        assert all(isinstance(result, Accepted) for result in verdict.results)
    months = "SELECT free_held, free_used FROM account_months"
    assert await world.rows(months) == [(4, 0)]
    assert isinstance(verdict.results[0], Accepted)
    await settle_all(pool, event_of(job_of(verdict.results[0], TOKEN_KEY)))
    assert await world.rows(months) == [(3, 1)]


async def test_only_what_is_queued_starts(world: World, pool: Pool) -> None:
    queued, second, other, running_one, ended = await accept(world, pool, *[world.spec()] * 5)
    await settle_all(pool, event_of(running_one, None, started_ms=1_000))
    await settle_all(pool, event_of(ended, started_ms=2_000))
    times = {queued: 8_000, second: 9_000, running_one: 8_500, ended: 9_500}
    rows = [settlement.StartRow(id=job.cast_id, started_ms=started_ms) for job, started_ms in times.items()]
    async with transaction(pool) as connection:
        await settlement.start(connection, rows)
    found = await world.rows(
        "SELECT id, status, (extract(epoch FROM started_at) * 1000)::bigint FROM casts ORDER BY id"
    )
    assert found == [
        (queued.cast_id, "running", 8_000),
        (second.cast_id, "running", 9_000),
        (other.cast_id, "queued", None),
        (running_one.cast_id, "running", 1_000),
        (ended.cast_id, "succeeded", 2_000),
    ]


async def test_each_cast_keeps_all_that_was_said_of_it(world: World, pool: Pool) -> None:
    jobs = await accept(world, pool, *[world.spec()] * 3)
    told: list[dict[str, Any]] = [
        {"exit_code": 0, "fuel": 11, "cpu_us": 12, "memory_bytes_peak": 13, "wall_us": 14, "attempts": 2},
        {"exit_code": 7, "fuel": 21, "cpu_us": 22, "memory_bytes_peak": 23, "wall_us": 24, "attempts": 1},
    ]
    events = [
        event_of(jobs[0], output=b"one", log=b"first", started_ms=3_000, finished_ms=4_000, **told[0]),
        event_of(
            jobs[1],
            Outcome.EXIT_NONZERO,
            output=b"two",
            log=b"second",
            message="It said no.",
            started_ms=5_000,
            finished_ms=6_000,
            **told[1],
        ),
    ]
    await settle_all(pool, *events)
    found = await world.rows(
        "SELECT status, error_code, error_message, exit_code, fuel, cpu_us, memory_bytes_peak, wall_us, attempts,"
        " (extract(epoch FROM started_at) * 1000)::bigint, (extract(epoch FROM finished_at) * 1000)::bigint,"
        " output, log, cost_micros FROM casts ORDER BY id"
    )
    assert found[0] == ("succeeded", None, "", 0, 11, 12, 13, 14, 2, 3_000, 4_000, b"one", b"first", 1_001)
    assert found[1] == (
        *("failed", "exit_nonzero", "It said no.", 7, 21, 22, 23, 24, 1, 5_000, 6_000, b"two", b"second", 1_001),
    )
    assert found[2] == ("queued", *[None] * 2, *found[2][3:])
    usage = await world.rows("SELECT outcome, fuel, cpu_us, memory_bytes_peak, wall_us FROM usage_events ORDER BY id")
    assert usage == [("succeeded", 11, 12, 13, 14), ("exit_nonzero", 21, 22, 23, 24)]


async def test_counters_add_up_batch_by_batch(world: World, pool: Pool) -> None:
    first, second = await accept(world, pool, *[world.spec()] * 2)
    await settle_all(pool, event_of(first, fuel=2_000_000, cpu_us=30))
    async with statement(pool) as connection:
        assert await usage.count(connection) == 1
    await settle_all(pool, event_of(second, Outcome.TRAP, fuel=3_000_000, cpu_us=50))
    async with statement(pool) as connection:
        assert await usage.count(connection) == 1
    counted = await world.rows(
        "SELECT casts, failed, fuel, cpu_us, cost_micros, array_agg(dimension ORDER BY dimension) FROM usage_counters"
        " GROUP BY 1, 2, 3, 4, 5"
    )
    assert counted == [(2, 1, 5_000_000, 80, 1_003 + 1_005, ["account", "account_spell", "key", "spell"])]


async def test_places_on_the_wire_are_counted_for_each_pool(world: World, pool: Pool) -> None:
    count = "SELECT open_casts, on_wire_default, on_wire_large FROM accounts WHERE id = %s"
    large = world.spec(pool=WorkerPool.LARGE)
    jobs = await accept(world, pool, world.spec(), large, large)
    assert await world.rows(count, world.account_id) == [(3, 1, 2)]
    assert await world.rows("SELECT open_casts FROM api_keys WHERE id = %s", world.key_id) == [(3,)]
    await settle_all(pool, event_of(jobs[1]))
    assert await world.rows(count, world.account_id) == [(2, 1, 1)]
    assert await world.rows("SELECT open_casts FROM api_keys WHERE id = %s", world.key_id) == [(2,)]


async def test_free_places_go_to_the_account_and_pool_they_came_free_in(
    world: World, neighbour: World, pool: Pool
) -> None:
    await neighbour.rows(
        "UPDATE accounts SET open_casts_max = 100000 WHERE id = ANY(%s)", [world.account_id, neighbour.account_id]
    )
    large = world.spec(pool=WorkerPool.LARGE)
    small = await accept(world, pool, *[world.spec()] * 258)
    others = await accept(world, pool, *[large] * 260)
    await accept(neighbour, pool, *[neighbour.spec()] * 258)
    settled = await settle_all(pool, event_of(others[0]), event_of(others[1]), event_of(others[2]))
    # Three places and four who wait: each in its own pool, none of the neighbour's.
    assert [job.cast_id for _, job in settled.freed] == [job.cast_id for job in others[256:259]]
    waiting = await columns(
        world, "SELECT id FROM casts WHERE NOT on_wire AND account_id = %s ORDER BY id", world.account_id
    )
    assert waiting == [*(job.cast_id for job in small[256:]), others[259].cast_id]
    async with transaction(pool) as connection:
        await cancel(connection, world.account_id, waiting[:1], batch_id=uuid4(), token_key=TOKEN_KEY)
    settled = await settle_all(pool, event_of(small[0]), event_of(small[1]))
    assert [job.cast_id for _, job in settled.freed] == waiting[1:2]
    assert len(await columns(world, WAITING, neighbour.account_id)) == 2
    assert await broken(world.database_url) == {}


async def test_a_free_place_goes_to_the_oldest_with_its_own_module(world: World, neighbour: World, pool: Pool) -> None:
    mine, theirs = [await accept(one, pool, *[one.spec()] * 258) for one in (world, neighbour)]
    other = await other_version(world)
    await world.rows("UPDATE casts SET version_id = %s WHERE account_id = %s", other, world.account_id)
    # Both accounts get a place, and their oldest waits again.
    for one, jobs in ((world, mine), (neighbour, theirs)):
        await one.rows("UPDATE casts SET on_wire = false WHERE id = %s", jobs[0].cast_id)
        await one.rows("UPDATE accounts SET on_wire_default = 255 WHERE id = %s", one.account_id)
    await lay_newest_first(world)
    async with transaction(pool) as connection:
        await settlement.lock_account(connection, world.account_id)
        await read_as_it_lies(connection)
        named = await settlement.name_next(connection, [world.account_id])
    assert [(cast.cast_id, cast.digest) for cast in named] == [(mine[0].cast_id, b"e" * 32)]
    waiting = await columns(world, WAITING, neighbour.account_id)
    assert waiting == [theirs[0].cast_id, *(job.cast_id for job in theirs[256:])]
    assert await broken(world.database_url) == {}


async def test_stopping_is_asked_of_open_casts_of_the_account_alone(world: World, neighbour: World, pool: Pool) -> None:
    queued, not_asked, started, ended = await accept(world, pool, *[world.spec()] * 4)
    (foreign,) = await accept(neighbour, pool)
    await settle_all(pool, event_of(started, None), event_of(ended))
    asked = [job.cast_id for job in (queued, started, ended, foreign)]
    async with transaction(pool) as connection:
        mine = await settlement.of_account(connection, world.account_id, asked)
        assert sorted(mine) == sorted(job.cast_id for job in (queued, started, ended))
        await settlement.request_cancel(connection, mine)
    assert await columns(world, "SELECT id FROM casts WHERE cancel_requested ORDER BY id") == [
        queued.cast_id,
        started.cast_id,
    ]
    assert not_asked.cast_id not in mine


async def test_open_casts_are_overdue_oldest_deadline_first(world: World, pool: Pool) -> None:
    jobs = await accept(world, pool, *[world.spec()] * 5)
    await settle_all(pool, event_of(jobs[3], None), event_of(jobs[4]))
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    # The oldest is written last: it lies behind the others.
    for hours, job in reversed([*zip((3, 2, 0, 1, 4), jobs, strict=True)]):
        await world.rows(
            "UPDATE casts SET deadline_at = %s WHERE id = %s", moment - timedelta(hours=hours), job.cast_id
        )
    async with transaction(pool) as connection:
        await read_as_it_lies(connection)
        everything = await settlement.overdue(connection, before=moment, limit=10)
        some = await settlement.overdue(connection, before=moment, limit=2)
    # The third's deadline is the moment itself, the last has ended.
    assert everything == [jobs[0].cast_id, jobs[1].cast_id, jobs[3].cast_id]
    assert some == everything[:2]


async def test_casts_meant_for_the_wire_come_in_pages(world: World, pool: Pool) -> None:
    jobs = await accept(world, pool, *[world.spec()] * 5)
    await accept(world, pool, world.spec(pool=WorkerPool.LARGE))
    await settle_all(pool, event_of(jobs[1], None), event_of(jobs[2]))
    await world.rows("UPDATE casts SET on_wire = false WHERE id = %s", jobs[3].cast_id)
    # An update moves a row to the end of the table: only its id says that it comes first.
    await world.rows("UPDATE casts SET cancel_requested = true WHERE id = %s", jobs[0].cast_id)

    async def page(after: UUID, before: UUID, limit: int = 10) -> Sequence[tuple[UUID, bool]]:
        async with transaction(pool) as connection:
            await read_as_it_lies(connection)
            return await settlement.meant_for_wire(
                connection, WorkerPool.DEFAULT, after=after, before=before, limit=limit
            )

    everything = [(jobs[0].cast_id, True), (jobs[1].cast_id, False), (jobs[4].cast_id, False)]
    assert await page(FIRST, LAST) == everything
    assert await page(FIRST, LAST, 2) == everything[:2]
    assert await page(jobs[0].cast_id, LAST) == everything[1:]
    assert await page(FIRST, jobs[4].cast_id) == everything[:2]


async def test_jobs_are_made_of_open_casts_each_with_its_own_module(world: World, pool: Pool) -> None:
    queued, not_asked, started, ended = await accept(world, pool, *[world.spec()] * 4)
    await settle_all(pool, event_of(started, None), event_of(ended))
    other = await other_version(world)
    await world.rows("UPDATE casts SET version_id = %s WHERE id = %s", other, started.cast_id)
    async with transaction(pool) as connection:
        found = await settlement.jobs(connection, [queued.cast_id, started.cast_id, ended.cast_id])
        _, held_casts, _ = await settlement.lock_and_read(connection, [started.cast_id, not_asked.cast_id])
    assert {cast.cast_id: cast.digest for cast in found} == {
        queued.cast_id: b"d" * 32,
        started.cast_id: b"e" * 32,
    }
    assert {cast.id: cast.digest for cast in held_casts} == {started.cast_id: b"e" * 32, not_asked.cast_id: b"d" * 32}
    assert not_asked.cast_id not in {cast.cast_id for cast in found}


async def other_version(world: World) -> UUID:
    version_id = uuid4()
    await world.rows("INSERT INTO blobs (digest, size_bytes) VALUES (%s, 1)", b"e" * 32)
    await world.rows(
        "INSERT INTO spell_versions (id, spell_id, account_id, version, digest, size_bytes, manifest)"
        " VALUES (%s, %s, %s, '2.0.0', %s, 1, '{}')",
        version_id, world.spell_id, world.creator_id, b"e" * 32,
    )  # fmt: skip
    return version_id
