"""Sessions begin, are used and end; a program gets one that a person confirmed."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from domain.flow.begin_device_login import begin_device_login
from domain.flow.decide_device_login import decide_device_login
from domain.flow.end_session import end_other_sessions, end_session, end_session_of_token
from domain.flow.finish_device_login import finish_device_login
from domain.flow.open_session import open_session
from domain.flow.reserve import judge
from domain.model.admission import AdmissionRequest, Judged
from domain.model.audit import OPERATOR, PLATFORM
from domain.model.device_login import DEVICE_LOGIN_S, DeviceCodes
from domain.model.device_login import ENTROPY_BYTES as CODE_ENTROPY_BYTES
from domain.model.errors import Code, Refusal, RefusedError
from domain.model.session import (
    ENTROPY_BYTES,
    SESSION_DAYS_MAX,
    SESSION_IDLE_DAYS_MAX,
    SESSIONS_PER_USER_MAX,
    USER_AGENT_CHARACTERS_MAX,
    OpenedSession,
    hash_of_token,
)
from domain.store import sessions
from domain.store.connection import Connection, Pool, Role, account_transaction, open_pool, transaction
from domain.store.device_logins import device_login_by_code
from tests.domain.world import TERMS, World, admit

# Postgres' own clock decides what lives, so that a session of these tests begins at the present.
NOW = datetime.now(UTC)


@pytest.fixture
async def user_id(world: World) -> UUID:
    made = uuid4()
    await world.rows(
        "INSERT INTO users (id, account_id, email) VALUES (%s, %s, 'ada@example.com') RETURNING id",
        made,
        world.account_id,
    )
    return made


async def begin(pool: Pool, world: World, user_id: UUID, *, user_agent: str = "", now: datetime = NOW) -> OpenedSession:
    async with transaction(pool) as connection:
        return await open_session(
            connection,
            user_id=user_id,
            account_id=world.account_id,
            kind="browser",
            user_agent=user_agent,
            address="203.0.113.7",
            now=now,
            entropy=os.urandom(ENTROPY_BYTES),
        )


async def end(pool: Pool, world: World, user_id: UUID, session_id: UUID) -> None:
    async with transaction(pool) as connection:
        await end_session(
            connection, account_id=world.account_id, user_id=user_id, session_id=session_id, actor=OPERATOR
        )


async def living(pool: Pool, *opened: OpenedSession) -> list[bool]:
    hashes = [hash_of_token(session.token) for session in opened]
    async with transaction(pool) as connection:
        owners = await sessions.sessions_by_hash(connection, hashes=hashes)
    return [hashed in owners and owners[hashed].alive for hashed in hashes]


async def test_a_session_is_stored_without_its_token(world: World, pool: Pool, user_id: UUID) -> None:
    opened = await begin(pool, world, user_id, user_agent="evil\x1b[2J\r\n" + "x" * 1_000)
    [(stored, row)] = await world.rows("SELECT token_hash, s::text FROM sessions s")
    assert bytes(stored) == hash_of_token(opened.token)
    assert opened.token.removeprefix("ss_") not in row
    [(agent,)] = await world.rows("SELECT user_agent FROM sessions")
    assert agent.startswith("evil[2Jxxx")
    assert len(agent) == USER_AGENT_CHARACTERS_MAX
    other = await begin(pool, world, user_id)
    assert other.token != opened.token
    assert await living(pool, opened, other) == [True, True]


async def test_the_oldest_ends_when_there_are_too_many(world: World, pool: Pool, user_id: UUID) -> None:
    opened = [
        await begin(pool, world, user_id, now=NOW - timedelta(seconds=SESSIONS_PER_USER_MAX - number))
        for number in range(SESSIONS_PER_USER_MAX)
    ]
    assert all(await living(pool, *opened))
    newest = await begin(pool, world, user_id)
    assert await living(pool, opened[0], opened[1], opened[-1], newest) == [False, True, True, True]


async def test_what_expired_long_ago_is_forgotten_at_the_next_login(world: World, pool: Pool, user_id: UUID) -> None:
    await begin(pool, world, user_id, now=NOW - timedelta(days=61))
    recent = await begin(pool, world, user_id, now=NOW - timedelta(days=59))
    assert await living(pool, recent) == [False]
    await begin(pool, world, user_id)
    assert await world.rows("SELECT count(*) FROM sessions") == [(2,)]


async def test_ending_twice_is_ending_once(world: World, pool: Pool, user_id: UUID) -> None:
    opened, other = await begin(pool, world, user_id), await begin(pool, world, user_id)
    await end(pool, world, user_id, opened.session_id)
    first = await world.rows("SELECT ended_at FROM sessions WHERE id = %s", opened.session_id)
    await end(pool, world, user_id, opened.session_id)
    assert await world.rows("SELECT ended_at FROM sessions WHERE id = %s", opened.session_id) == first
    assert await living(pool, opened, other) == [False, True]


async def test_nobody_ends_what_is_not_his(world: World, pool: Pool, user_id: UUID) -> None:
    opened = await begin(pool, world, user_id)
    for account_id, asker in ((world.creator_id, user_id), (world.account_id, uuid4())):
        with pytest.raises(RefusedError) as refused:
            async with transaction(pool) as connection:
                await end_session(
                    connection, account_id=account_id, user_id=asker, session_id=opened.session_id, actor=OPERATOR
                )
        assert refused.value.refusal.code is Code.NOT_FOUND
        async with transaction(pool) as connection:
            assert (
                await end_other_sessions(connection, account_id=account_id, user_id=asker, kept=None, actor=OPERATOR)
                == []
            )
    assert await living(pool, opened) == [True]


async def test_all_end_but_one_or_all(world: World, pool: Pool, user_id: UUID) -> None:
    opened = [await begin(pool, world, user_id) for _ in range(3)]
    kept = opened[1].session_id
    async with transaction(pool) as connection:
        ended = await end_other_sessions(
            connection, account_id=world.account_id, user_id=user_id, kept=kept, actor=OPERATOR
        )
        assert set(ended) == {opened[0].session_id, opened[2].session_id}
    assert await living(pool, *opened) == [False, True, False]
    async with transaction(pool) as connection:
        assert await end_other_sessions(
            connection, account_id=world.account_id, user_id=user_id, kept=None, actor=OPERATOR
        ) == [kept]


async def test_a_login_ends_the_session_of_before_by_its_token(world: World, pool: Pool, user_id: UUID) -> None:
    opened = await begin(pool, world, user_id)
    async with transaction(pool) as connection:
        assert await end_session_of_token(connection, token="no token") is None
        assert await end_session_of_token(connection, token="ss_" + "A" * 43) is None
        assert await end_session_of_token(connection, token=opened.token) == opened.session_id
        assert await end_session_of_token(connection, token=opened.token) is None
    assert await living(pool, opened) == [False]


def by_session(world: World, session_id: UUID) -> AdmissionRequest:
    return msgspec.structs.replace(world.request(), key_id=None, session_id=session_id)


async def test_admission_asks_again_whether_a_session_lives(world: World, pool: Pool, user_id: UUID) -> None:
    opened, other = await begin(pool, world, user_id), await begin(pool, world, user_id)
    await end(pool, world, user_id, opened.session_id)
    idle = await begin(pool, world, user_id, now=NOW - timedelta(days=SESSION_IDLE_DAYS_MAX, minutes=1))
    expired = await begin(pool, world, user_id, now=NOW - timedelta(days=SESSION_DAYS_MAX, minutes=1))
    await world.rows("UPDATE sessions SET last_used_at = now() WHERE id = %s RETURNING id", expired.session_id)
    alive, *dead = await admit(
        pool,
        by_session(world, other.session_id),
        by_session(world, opened.session_id),
        by_session(world, idle.session_id),
        by_session(world, expired.session_id),
        by_session(world, uuid4()),
    )
    assert isinstance(alive, Judged)
    assert await living(pool, other, opened, idle, expired) == [True, False, False, False]
    for refused in dead:
        assert isinstance(refused, Refusal)
        assert refused.code is Code.UNAUTHORIZED
    over_rate = msgspec.structs.replace(by_session(world, opened.session_id), retry_after_s=1)
    async with transaction(pool) as connection:
        [judged] = await judge(connection, [over_rate], TERMS)
    assert isinstance(judged, Refusal)
    assert judged.code is Code.UNAUTHORIZED


async def waiting_locks(connection: Connection) -> int:
    cursor = await connection.execute(b"SELECT count(*) FROM pg_locks WHERE NOT granted")
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def test_the_end_waits_for_a_batch_that_saw_the_session_alive(world: World, pool: Pool, user_id: UUID) -> None:
    """All connections are there before the lock is taken, so that a busy machine holds it for as short as any."""
    opened = await begin(pool, world, user_id)
    hashed = hash_of_token(opened.token)
    async with transaction(pool) as ender:
        async with transaction(pool) as batch:
            await batch.execute(b"SELECT 1 FROM accounts WHERE id = %s FOR NO KEY UPDATE", (world.account_id,))
            ending = asyncio.create_task(
                end_session(
                    ender,
                    account_id=world.account_id,
                    user_id=user_id,
                    session_id=opened.session_id,
                    actor=PLATFORM,
                )
            )
            while not ending.done() and await waiting_locks(batch) == 0:
                pass
            assert (await sessions.sessions_by_hash(batch, hashes=[hashed]))[hashed].alive
            cursor = await batch.execute(b"SELECT clock_timestamp()")
            [(seen_at,)] = await cursor.fetchall()
        await ending
    [(ended_at,)] = await world.rows("SELECT ended_at FROM sessions")
    assert ended_at >= seen_at
    assert await living(pool, opened) == [False]


async def test_a_person_sees_his_sessions_and_no_other(world: World, pool: Pool, user_id: UUID) -> None:
    opened = await begin(pool, world, user_id)
    async with open_pool(world.database_url, role=Role.APP, size_max=1) as app:
        async with account_transaction(app, world.account_id) as connection:
            listed = await sessions.sessions_list(
                connection, account_id=world.account_id, user_id=user_id, limit=SESSIONS_PER_USER_MAX
            )
            assert [session.id for session in listed] == [opened.session_id]
            user = await sessions.user_get(connection, account_id=world.account_id, user_id=user_id)
            assert user is not None
            assert user == await sessions.user_of_account(connection, account_id=world.account_id)
            assert (user.email, user.role) == ("ada@example.com", "user")
        async with account_transaction(app, world.creator_id) as connection:
            # Even when the query asks for another account's, the policy shows none.
            assert not await sessions.sessions_list(connection, account_id=world.account_id, user_id=user_id, limit=9)
            assert await sessions.user_get(connection, account_id=world.account_id, user_id=user_id) is None


async def test_use_is_noted_once_a_minute_and_wakes_nobody(world: World, pool: Pool, user_id: UUID) -> None:
    ours = await begin(pool, world, user_id)
    idle = await begin(pool, world, user_id, now=NOW - timedelta(days=8))

    async def use(opened: OpenedSession, at: datetime) -> bool:
        async with transaction(pool) as connection:
            return opened.session_id in await sessions.sessions_use(connection, used={opened.session_id: at})

    assert not await use(ours, NOW + timedelta(seconds=59))
    assert await use(ours, NOW + timedelta(seconds=60))
    assert not await use(ours, NOW + timedelta(seconds=119))
    assert not await use(idle, NOW)
    assert await living(pool, ours, idle) == [True, False]


async def start(pool: Pool, *, now: datetime = NOW, entropy: bytes | None = None) -> DeviceCodes:
    async with transaction(pool) as connection:
        return await begin_device_login(
            connection, device_name="laptop", now=now, entropy=entropy or os.urandom(CODE_ENTROPY_BYTES)
        )


async def decide(pool: Pool, codes: DeviceCodes, user_id: UUID, *, approved: bool = True, now: datetime = NOW) -> None:
    async with transaction(pool) as connection:
        cursor = await connection.execute(b"SELECT account_id FROM users WHERE id = %s", (user_id,))
        (account_id,) = (await cursor.fetchone()) or (None,)
        assert account_id is not None
        await decide_device_login(
            connection,
            user_code=codes.user_code,
            account_id=account_id,
            user_id=user_id,
            approved=approved,
            actor=OPERATOR,
            now=now,
        )


async def finish(pool: Pool, device_code: str, *, now: datetime = NOW) -> OpenedSession | Code:
    try:
        async with transaction(pool) as connection:
            return await finish_device_login(
                connection, device_code=device_code, address="", now=now, entropy=os.urandom(ENTROPY_BYTES)
            )
    except RefusedError as error:
        return error.refusal.code


async def test_a_program_gets_one_session_of_what_was_confirmed(world: World, pool: Pool, user_id: UUID) -> None:
    codes = await start(pool)
    assert await finish(pool, codes.device_code) is Code.AUTHORIZATION_PENDING
    async with transaction(pool) as connection:
        pending = await device_login_by_code(connection, user_code=codes.user_code, now=NOW)
    assert pending is not None
    assert pending.device_name == "laptop"
    await decide(pool, codes, user_id)
    polls = await asyncio.gather(*(finish(pool, codes.device_code) for _ in range(4)))
    opened = [poll for poll in polls if isinstance(poll, OpenedSession)]
    assert len(opened) == 1
    assert [poll for poll in polls if poll not in opened] == [Code.EXPIRED_TOKEN] * 3
    assert await living(pool, *opened) == [True]
    [(kind, agent)] = await world.rows("SELECT kind, user_agent FROM sessions")
    assert (kind, agent) == ("cli", "laptop")
    dump = repr(await world.rows("SELECT d::text, s::text FROM device_logins d, sessions s"))
    assert codes.device_code not in dump
    assert opened[0].token.removeprefix("ss_") not in dump


async def test_a_login_is_decided_once_and_in_time(world: World, pool: Pool, user_id: UUID) -> None:
    late = NOW + timedelta(seconds=DEVICE_LOGIN_S)
    denied, overdue, slow = await start(pool), await start(pool), await start(pool)
    await decide(pool, denied, user_id, approved=False)
    for codes, now in ((denied, NOW), (overdue, late), (msgspec.structs.replace(denied, user_code="x"), NOW)):
        with pytest.raises(RefusedError) as refused:
            await decide(pool, codes, user_id, now=now)
        assert refused.value.refusal.code is Code.NOT_FOUND
    assert await finish(pool, denied.device_code) is Code.ACCESS_DENIED
    assert await finish(pool, overdue.device_code, now=late) is Code.EXPIRED_TOKEN
    await decide(pool, slow, user_id)
    assert await finish(pool, slow.device_code, now=late) is Code.EXPIRED_TOKEN
    assert await finish(pool, "no code") is Code.EXPIRED_TOKEN
    assert await finish(pool, "A" * 43) is Code.EXPIRED_TOKEN
    assert await world.rows("SELECT count(*) FROM sessions") == [(0,)]


async def test_codes_are_given_once_and_old_ones_go(world: World, pool: Pool) -> None:
    entropy = os.urandom(CODE_ENTROPY_BYTES)
    await start(pool, now=NOW - timedelta(seconds=2 * DEVICE_LOGIN_S + 1))
    await start(pool, entropy=entropy)
    with pytest.raises(RefusedError) as refused:
        await start(pool, entropy=entropy)
    assert refused.value.refusal.code is Code.OVERLOADED
    assert await world.rows("SELECT count(*) FROM device_logins") == [(1,)]
