"""Erasure against real servers: a mark in everything that can hold words, and none anywhere afterwards."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

from domain.flow import erase as erase_flow
from domain.flow.reconcile import Reconciliation, reconcile
from domain.flow.request_erasure import request_erasure
from domain.flow.settle import settle
from domain.flow.sign_in import ENTROPY_BYTES, sign_in
from domain.model.admission import Judged
from domain.model.audit import OPERATOR
from domain.model.erasure import DELETED, EMPTIED, KEPT, RECENT_SIGN_IN, pseudonym_of
from domain.model.errors import Code, Refusal, RefusedError
from domain.model.login import MAIL_ISSUER, ProvenIdentity, stranger_id
from domain.model.messages import Outcome
from domain.store.connection import Pool, Role, open_pool, snapshot, transaction
from scheduler.erasures import erase, erase_one_piece
from scheduler.jobs import Clockwork
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.personal_rows import give_everything
from tests.domain.world import TOKEN_KEY, World, admit, make_world
from workers.broker.async_link import open_redis

MARK = "canary7f3a9c"
TABLES = """
    SELECT c.relname FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""


@pytest.fixture
async def world(database_url: str) -> World:
    return await make_world(database_url, billing="off", subscribed=False)


@pytest.fixture
async def clockwork(database_url: str, redis_url: str) -> AsyncGenerator[Clockwork]:
    async with (
        open_redis(redis_url) as redis,
        open_pool(database_url, role=Role.ENGINE, size_max=4) as pool,
        open_pool(database_url, role=Role.ENGINE, size_max=1, statement_timeout_ms=60_000) as slow_pool,
    ):
        yield Clockwork(pool=pool, slow_pool=slow_pool, redis=redis, token_key=TOKEN_KEY)


async def session_of(world: World) -> UUID:
    return (await world.rows("SELECT id FROM sessions WHERE account_id = %s", world.account_id))[0][0]


async def handle_of(world: World) -> str:
    return (await world.rows("SELECT handle FROM accounts WHERE id = %s", world.account_id))[0][0]


async def request(world: World, pool: Pool, **changes: Any) -> None:
    asked = {"account_id": world.account_id, **changes}
    if not changes.keys() >= {"session_id", "confirm"}:
        asked = {"session_id": await session_of(world), "confirm": await handle_of(world), **asked}
    async with transaction(pool) as connection:
        await request_erasure(connection, **asked, actor=OPERATOR)


async def finish(clockwork: Clockwork) -> None:
    while (piece := await erase_one_piece(clockwork, datetime.now(UTC))) is not None:
        assert not piece.waits


# Wherever somebody could have written a name.
MARKS = """
    UPDATE accounts SET handle = 'MARK' WHERE id = %(account)s;
    UPDATE users SET email = 'MARK@example.com', name = 'MARK' WHERE account_id = %(account)s;
    UPDATE identities SET subject = 'MARK@example.com', email = 'MARK@example.com' WHERE account_id = %(account)s;
    UPDATE sessions SET user_agent = 'MARK', address = 'MARK' WHERE account_id = %(account)s;
    UPDATE device_logins SET device_name = 'MARK', user_code = 'MARK'
      WHERE user_id = (SELECT id FROM users WHERE account_id = %(account)s);
    UPDATE api_keys SET name = 'MARK', secret_hash = 'MARK', allowed_origins = '{MARK}',
      previous_prefix = 'sk_live_MARK', previous_secret_hash = 'MARK', previous_until = now()
      WHERE account_id = %(account)s;
    UPDATE spells SET name = 'MARK', description = 'MARK', deprecation = 'MARK' WHERE account_id = %(account)s;
    UPDATE spell_versions SET manifest = '{"description": "MARK"}', deprecation = 'MARK'
      WHERE account_id = %(account)s;
    UPDATE casts SET input = 'MARK', output = 'MARK', log = 'MARK', metadata = '{"x": "MARK"}', traceparent = 'MARK',
      error_message = 'MARK', webhook_url = 'https://MARK.example' WHERE account_id = %(account)s;
    UPDATE idempotency_keys SET key = 'MARK' WHERE account_id = %(account)s;
    UPDATE webhook_endpoints SET url = 'https://MARK.example', description = 'MARK' WHERE account_id = %(account)s;
    UPDATE outgoing SET payload = 'MARK', target = CASE WHEN endpoint_id IS NULL THEN 'MARK' END
      WHERE account_id = %(account)s;
    UPDATE outgoing_attempts SET response_body = 'MARK', error = 'MARK' WHERE account_id = %(account)s;
    UPDATE credit_orders SET checkout_url = 'MARK', stripe_payment_method = 'MARK' WHERE account_id = %(account)s;
    UPDATE invoices SET hosted_url = 'MARK', pdf_url = 'MARK' WHERE account_id = %(account)s;
    UPDATE privacy_exports SET error = 'MARK', state = '"MARK"' WHERE account_id = %(account)s;
    INSERT INTO privacy_export_pieces SELECT id, account_id, 0, 'MARK' FROM privacy_exports
      WHERE account_id = %(account)s;
    UPDATE audit_log SET address = 'MARK', request_id = 'MARK', before = '{"handle": "MARK"}',
      after = '{"name": "MARK", "notify": true}' WHERE account_id = %(account)s;
    INSERT INTO magic_links
      VALUES (sha256('a'), sha256('b'), 'MARK@example.com', '/', now(), now() + interval '1 hour', NULL);
    INSERT INTO outgoing (id, account_id, kind, event_id, event_type, target, payload, created_at, next_attempt_at)
      VALUES (gen_random_uuid(), %(stranger)s, 'mail', gen_random_uuid(), 'login.link', 'MARK@example.com', '{}', now(),
      now())
"""


async def mark_everything(world: World) -> None:
    parameters = {"account": world.account_id, "stranger": stranger_id(f"{MARK}@example.com")}
    async with await psycopg.AsyncConnection.connect(world.database_url, autocommit=True) as connection:
        for statement in MARKS.replace("MARK", MARK).split(";\n"):
            await connection.execute(statement.encode(), parameters)


async def marked(world: World) -> dict[str, list[Any]]:
    """Return every row of the database in which the mark stands, in clear or as bytes."""
    found: dict[str, list[Any]] = {}
    async with await psycopg.AsyncConnection.connect(world.database_url) as connection:
        tables = [row[0] for row in await (await connection.execute(TABLES.encode())).fetchall()]
        for table in tables:
            query = f"SELECT t::text FROM {table} t WHERE t::text LIKE %s OR t::text LIKE %s"  # noqa: S608
            cursor = await connection.execute(query.encode(), (f"%{MARK}%", f"%{MARK.encode().hex()}%"))
            if rows := await cursor.fetchall():
                found[table] = rows
    return found


async def test_no_mark_is_left_anywhere_and_the_books_are_as_before(world: World, clockwork: Clockwork) -> None:
    await give_everything(world, clockwork.pool)
    await mark_everything(world)
    planted = await marked(world)
    assert set(DELETED) | set(EMPTIED) <= set(planted), "mark_everything leaves one of these out"
    numbers, found = await books(world), await compared(clockwork)
    await request(world, clockwork.pool)
    await finish(clockwork)
    assert await marked(world) == {}
    assert await books(world) == numbers
    assert await broken(world.database_url) == {}
    # give_everything makes credits by hand, without their transfer: whatever differed, nothing else does now.
    after = await compared(clockwork)
    assert (after.holds.casts_micros, after.holds.drift_micros) == (0, 0)
    assert msgspec.structs.replace(after, holds=found.holds) == found
    assert await world.rows("SELECT finished_at IS NOT NULL FROM erasures") == [(True,)]
    assert await world.rows("SELECT status, handle FROM accounts WHERE id = %s", world.account_id) == [
        ("erased", pseudonym_of(world.account_id))
    ]
    # What was changed by whom is still there, under ids.
    log = await world.rows("SELECT action, after::text FROM audit_log WHERE account_id = %s", world.account_id)
    assert ("key.create", '{"notify": true}') in log
    assert "account.erase" in {action for action, _ in log}


async def compared(clockwork: Clockwork) -> Reconciliation:
    async with snapshot(clockwork.pool) as connection:
        return await reconcile(connection, now=datetime.now(UTC))


async def books(world: World) -> list[tuple]:
    return await world.rows(
        "SELECT (SELECT json_agg(t ORDER BY t.id)::text FROM ledger_transfers t),"
        " (SELECT sum(cost_micros) FROM usage_days), (SELECT count(*) FROM usage_events WHERE cost_micros > 0),"
        " (SELECT sum(balance_micros) FROM credit_grants), (SELECT sum(spent_micros) FROM account_months)"
    )


async def test_nothing_leads_to_the_person_from_the_request_on(world: World, clockwork: Clockwork) -> None:
    await give_everything(world, clockwork.pool)
    handle = await handle_of(world)
    await world.rows("UPDATE identities SET issuer = %s, subject = 'ada@example.com'", MAIL_ISSUER)
    await request(world, clockwork.pool)
    assert await world.rows("SELECT 1 FROM sessions WHERE account_id = %s", world.account_id) == []
    assert (
        await world.rows("SELECT 1 FROM api_keys WHERE account_id = %s AND revoked_at IS NULL", world.account_id) == []
    )
    (verdict,) = await admit(clockwork.pool, world.request())
    assert isinstance(verdict, Refusal)
    assert verdict.code is Code.UNAUTHORIZED
    # Who signs in again is somebody new, and gets another handle: casts of the old one must not run another's module.
    async with transaction(clockwork.pool) as connection:
        person = await sign_in(
            connection,
            ProvenIdentity(
                issuer=MAIL_ISSUER,
                subject="ada@example.com",
                email="ada@example.com",
                email_verified=True,
                name="",
                handle_hint=handle,
            ),
            plan="free",
            address="",
            request_id="",
            now=datetime.now(UTC),
            entropy=bytes(ENTROPY_BYTES),
        )
    assert person.made
    assert person.account_id != world.account_id
    assert person.handle != handle


async def test_it_is_asked_for_once_by_who_means_it_and_signed_in_just_now(world: World, clockwork: Clockwork) -> None:
    await give_everything(world, clockwork.pool)
    before = await world.rows("SELECT json_agg(u)::text FROM users u")

    async def refused(**changes: Any) -> Code:
        with pytest.raises(RefusedError) as caught:
            await request(world, clockwork.pool, **changes)
        return caught.value.refusal.code

    assert await refused(confirm="") is Code.VALIDATION
    assert await refused(confirm="somebody-else") is Code.VALIDATION
    assert await refused(session_id=uuid4()) is Code.UNAUTHORIZED
    await world.rows("UPDATE sessions SET created_at = created_at - %s", RECENT_SIGN_IN)
    assert await refused() is Code.FORBIDDEN
    await world.rows("UPDATE sessions SET created_at = now()")
    await world.rows("UPDATE accounts SET subscription_active = true WHERE id = %s", world.account_id)
    assert await refused() is Code.CONFLICT
    await world.rows("UPDATE accounts SET subscription_active = false WHERE id = %s", world.account_id)
    assert await world.rows("SELECT json_agg(u)::text FROM users u") == before
    session_id, handle = await session_of(world), await handle_of(world)
    await request(world, clockwork.pool)
    assert await refused(session_id=session_id, confirm=handle) is Code.FORBIDDEN, "twice"
    assert await world.rows("SELECT count(*) FROM erasures") == [(1,)]


async def test_what_runs_is_stopped_and_waited_for(world: World, clockwork: Clockwork) -> None:
    await give_everything(world, clockwork.pool)
    (running, queued) = [(await accept(world, clockwork.pool))[0] for _ in range(2)]
    async with transaction(clockwork.pool) as connection:
        started = [event_of(running, None)]
        await settle(connection, started, batch_id=uuid4(), token_key=TOKEN_KEY)
    await request(world, clockwork.pool)
    await erase(clockwork, datetime.now(UTC))
    states = dict(await world.rows("SELECT id, status FROM casts"))
    assert states[queued.cast_id] == "canceled"
    assert states[running.cast_id] == "running"
    assert await world.rows("SELECT finished_at FROM erasures") == [(None,)]
    async with transaction(clockwork.pool) as connection:
        ended = [event_of(running, Outcome.CANCELED, output=MARK.encode(), log=MARK.encode())]
        await settle(connection, ended, batch_id=uuid4(), token_key=TOKEN_KEY)
    await erase(clockwork, datetime.now(UTC))
    assert await world.rows("SELECT finished_at IS NOT NULL FROM erasures") == [(True,)]
    assert await marked(world) == {}
    assert await broken(world.database_url) == {}


async def test_killed_after_any_piece_it_is_gone_on_with(
    world: World, clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece is done, thrown away, and done again, as if somebody died right before the COMMIT."""
    for limit in ("CASTS_AT_ONCE_MAX", "DELIVERIES_AT_ONCE_MAX", "PIECES_AT_ONCE_MAX"):
        monkeypatch.setattr(erase_flow, limit, 1)
    await give_everything(world, clockwork.pool)
    await mark_everything(world)
    await request(world, clockwork.pool)
    pieces = 0

    async def die_before_commit() -> None:
        async with transaction(clockwork.slow_pool) as connection:
            now = datetime.now(UTC)
            await erase_flow.erase_piece(connection, now=now, batch_id=uuid4(), token_key=TOKEN_KEY)
            raise ZeroDivisionError

    while True:
        with pytest.raises(ZeroDivisionError):
            await die_before_commit()
        if await erase_one_piece(clockwork, datetime.now(UTC)) is None:
            break
        pieces += 1
    assert pieces > 8
    assert await marked(world) == {}
    assert await broken(world.database_url) == {}


async def test_a_spell_that_others_cast_goes_on_by_exact_version_for_nothing(
    world: World, clockwork: Clockwork
) -> None:
    """The creator leaves; the consumer's pinned casts go on, and pay nobody for them."""
    await world.rows(
        "INSERT INTO spell_prices SELECT id, 1, account_id, created_at, created_at, 0, 0, 0, 500, 0, 0, 0"
        " FROM spell_versions WHERE spell_id = %s",
        world.spell_id,
    )
    (job,) = await accept(world, clockwork.pool, world.spec(creator_price_micros=500))
    async with transaction(clockwork.pool) as connection:
        await settle(connection, [event_of(job)], batch_id=uuid4(), token_key=TOKEN_KEY)
    await world.rows("INSERT INTO users (id, account_id) VALUES (%s, %s)", uuid4(), world.creator_id)
    await world.rows(
        "INSERT INTO sessions SELECT gen_random_uuid(), id, account_id, sha256('c'), 'cli', '', '', now(), now(),"
        " now() + interval '1 day', NULL FROM users WHERE account_id = %s",
        world.creator_id,
    )
    ((session_id, handle),) = await world.rows(
        "SELECT s.id, a.handle FROM sessions s JOIN accounts a ON a.id = s.account_id WHERE a.id = %s", world.creator_id
    )
    await request(world, clockwork.pool, account_id=world.creator_id, session_id=session_id, confirm=handle)
    await finish(clockwork)
    ((name, yanked, digest),) = await world.rows(
        "SELECT s.name, v.yanked_at IS NOT NULL, v.digest FROM spells s JOIN spell_versions v ON v.spell_id = s.id"
        " WHERE s.id = %s",
        world.spell_id,
    )
    assert (name, yanked, bytes(digest)) == ("wordcount", True, b"d" * 32)
    (verdict,) = await admit(clockwork.pool, world.request(world.spec(creator_price_micros=500)))
    assert isinstance(verdict, Judged)
    assert verdict.results[0].held_micros == 2_500, "the platform's price alone"  # type: ignore[union-attr]
    assert await broken(world.database_url) == {}


def test_what_is_kept_has_reasons_a_person_can_read() -> None:
    assert all(len(reason.split()) > 1 for columns in KEPT.values() for reason in columns.values())
