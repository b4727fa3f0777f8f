"""Sessions recognised from memory: no I/O when warm, never trusted for longer than a second, use noted in batches."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from api.access_log import Log
from api.app import create_app
from api.auth import FRESH_S, USE_WRITTEN_EVERY_S
from api.budgets.board import BudgetBoard
from api.call import Call
from api.guard import authenticate
from api.sessions.known import Sessions, session_token
from domain.model.errors import Code, RefusedError
from domain.settings import ApiSettings, load
from domain.store.connection import Role, StoreError, open_pool
from local.servers import Servers
from tests.api.platform import Account, Rows, Signed, api_environment

NOBODY = BudgetBoard(lambda: 0.0)


@pytest.fixture
def signed(rows: Rows, account: Account) -> Signed:
    return rows.session(account)


async def refusal(sessions: Sessions, token: str, *, fresh: bool = False) -> Code:
    with pytest.raises(RefusedError) as refused:
        await sessions.identify(token, fresh=fresh)
    return refused.value.refusal.code


async def test_a_warm_session_needs_no_database_and_a_stale_one_does(
    rows: Rows, account: Account, signed: Signed
) -> None:
    now = [0.0]
    async with open_pool(rows.url, role=Role.ENGINE, size_max=2) as pool:
        sessions = Sessions(pool, clock=lambda: now[0], rpm=60, board=NOBODY)
        principal = await sessions.identify(signed.token, fresh=False)
        assert (principal.account_id, principal.user_id, principal.session_id) == (
            account.id,
            signed.user_id,
            signed.id,
        )
        assert (principal.key_id, principal.role, principal.rate_limit_rpm) == (None, "user", 60)
    now[0] += FRESH_S  # the pool is closed by now
    assert await sessions.identify(signed.token, fresh=False) is principal
    with pytest.raises((StoreError, RuntimeError)):
        await sessions.identify(signed.token, fresh=True)
    now[0] += 0.001
    with pytest.raises((StoreError, RuntimeError)):
        await sessions.identify(signed.token, fresh=False)


async def test_an_ended_session_is_believed_for_a_second_at_most(rows: Rows, signed: Signed) -> None:
    now = [0.0]
    async with open_pool(rows.url, role=Role.ENGINE, size_max=2) as pool:
        sessions = Sessions(pool, clock=lambda: now[0], rpm=60, board=NOBODY)
        await sessions.identify(signed.token, fresh=False)
        rows.execute("UPDATE sessions SET ended_at = now() WHERE id = %(id)s", {"id": signed.id})
        assert (await sessions.identify(signed.token, fresh=False)).session_id == signed.id
        sessions.forget({signed.id})
        assert await refusal(sessions, signed.token) is Code.UNAUTHORIZED
        rows.execute("UPDATE sessions SET ended_at = NULL WHERE id = %(id)s", {"id": signed.id})
        await sessions.identify(signed.token, fresh=False)
        rows.execute("UPDATE sessions SET ended_at = now() WHERE id = %(id)s", {"id": signed.id})
        now[0] += FRESH_S + 0.001
        assert await refusal(sessions, signed.token) is Code.UNAUTHORIZED


async def test_what_is_no_token_costs_no_lookup(rows: Rows) -> None:
    pool = open_pool(rows.url, role=Role.ENGINE, size_max=1)  # never opened
    sessions = Sessions(pool, clock=lambda: 0.0, rpm=60, board=NOBODY)
    for text in ("", "ss_", "ss_" + "A" * 42, "ss_" + "é" * 43, "ss_" + "A" * 43 + "\n"):
        assert await refusal(sessions, text) is Code.UNAUTHORIZED


async def test_many_requests_of_one_session_ask_once(rows: Rows, signed: Signed) -> None:
    async with open_pool(rows.url, role=Role.ENGINE, size_max=1) as pool:
        sessions = Sessions(pool, clock=lambda: 0.0, rpm=60, board=NOBODY)
        await sessions.identify(signed.token, fresh=False)
        before = pool.get_stats().get("requests_num", 0)
        await asyncio.gather(*(sessions.identify(signed.token, fresh=True) for _ in range(200)))
        assert pool.get_stats().get("requests_num", 0) - before <= 2


async def test_use_is_written_once_a_minute(rows: Rows, signed: Signed) -> None:
    """The session began two minutes before, so that the first use is due."""
    now, begun = [0.0], datetime.now(UTC)
    ours = {"id": signed.id}
    rows.execute("UPDATE sessions SET last_used_at = last_used_at - interval '2 minutes' WHERE id = %(id)s", ours)
    async with open_pool(rows.url, role=Role.ENGINE, size_max=2) as pool:
        sessions = Sessions(pool, clock=lambda: now[0], rpm=60, board=NOBODY)

        async def use(at_s: float) -> int:
            now[0] = at_s
            await sessions.identify(signed.token, fresh=True)
            return await sessions.note_uses(begun + timedelta(seconds=at_s))

        def shown() -> datetime:
            return rows.execute("SELECT last_used_at FROM sessions WHERE id = %(id)s", ours)[0][0]

        assert await sessions.note_uses(begun) == 0
        assert await use(1) == 1
        assert shown() == begun + timedelta(seconds=1)
        assert await use(2) == 0
        assert shown() == begun + timedelta(seconds=1)
        assert await use(2 + USE_WRITTEN_EVERY_S) == 1
        assert shown() == begun + timedelta(seconds=2 + USE_WRITTEN_EVERY_S)


def test_only_what_begins_like_a_session_is_taken_for_one() -> None:
    assert session_token(b"Bearer ss_abc") == "ss_abc"
    assert session_token(b"bearer ss_abc") == "ss_abc"
    for other in (None, b"", b"Bearer", b"Bearer sk_live_x", b"Basic ss_abc", b"ss_abc"):
        assert session_token(other) is None


def call(signed: Signed, method: str) -> Call:
    return Call(
        {b"authorization": f"Bearer {signed.token}".encode()}, method=method, client=None, request_id="x", started=0
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Litestar 3 wants other annotations than 2.25 needs
async def test_what_changes_something_trusts_no_memory(rows: Rows, servers: Servers, signed: Signed) -> None:
    """In a process whose clock stands still, so that what it has seen once stays fresh however slow the machine is."""
    settings = load(ApiSettings, api_environment(rows.url, servers.redis_url, 1))
    log = Log(settings.log_level, now=lambda: datetime.now(UTC), write=lambda _: None)
    _, services = create_app(settings, log=log, clock=lambda: 0.0, now=lambda: datetime.now(UTC))
    ended = "UPDATE sessions SET ended_at = CASE WHEN %(ended)s THEN now() END WHERE id = %(id)s"
    async with services.engine_pool:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert (await authenticate(services, call(signed, "GET"))).session_id == signed.id
            rows.execute(ended, {"id": signed.id, "ended": True})
            for trusting in (call(signed, "GET"), call(signed, "HEAD")):
                assert (await authenticate(services, trusting)).session_id == signed.id
            casting = await authenticate(services, call(signed, method), asked_again=True)
            assert casting.session_id == signed.id
            with pytest.raises(RefusedError) as refused:
                await authenticate(services, call(signed, method))
            assert refused.value.refusal.code is Code.UNAUTHORIZED
            rows.execute(ended, {"id": signed.id, "ended": False})
    services.authenticator.close()
    await services.redis.aclose()
