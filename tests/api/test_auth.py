"""Keys recognised from memory: no I/O when warm, never trusted for longer than a second."""

import asyncio
import os
from datetime import UTC, datetime, timedelta

import pytest

from api.auth import FRESH_S, USE_WRITTEN_EVERY_S, VERIFY_WAITING_MAX, Authenticator
from api.budgets.board import BudgetBoard
from domain.model.api_key import ENTROPY_BYTES, mint
from domain.model.errors import Code, RefusedError
from domain.store.connection import Role, StoreError, open_pool
from tests.api.platform import Account, Rows

NOBODY = BudgetBoard(lambda: 0.0)


def bearer(account: Account) -> bytes:
    return f"Bearer {account.key}".encode()


async def test_a_warm_key_needs_no_database_and_a_stale_one_does(rows: Rows, account: Account) -> None:
    now = [0.0]
    pool = open_pool(rows.url, role=Role.ENGINE, size_max=2)
    async with pool:
        authenticator = Authenticator(pool, clock=lambda: now[0], rpm_default=60, board=NOBODY)
        principal = await authenticator.identify(bearer(account))
        assert (principal.account_id, principal.key_id) == (account.id, account.key_id)
    now[0] += FRESH_S  # the pool is closed by now
    assert await authenticator.identify(bearer(account)) is principal
    now[0] += 0.001
    with pytest.raises((StoreError, RuntimeError)):
        await authenticator.identify(bearer(account))
    authenticator.close()


async def test_refresh_keeps_used_keys_warm_and_drops_dead_ones(rows: Rows, account: Account) -> None:
    now = [0.0]
    async with open_pool(rows.url, role=Role.ENGINE, size_max=2) as pool:
        authenticator = Authenticator(pool, clock=lambda: now[0], rpm_default=60, board=NOBODY)
        await authenticator.identify(bearer(account))
        rows.execute("UPDATE api_keys SET rate_limit_rpm = 7 WHERE id = %(id)s", {"id": account.key_id})
        now[0] += 0.5
        assert await authenticator.refresh() == 1
        assert (await authenticator.identify(bearer(account))).rate_limit_rpm == 7
        rows.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %(id)s", {"id": account.key_id})
        assert await authenticator.refresh() == 1
        assert await authenticator.refresh() == 0
        with pytest.raises(RefusedError) as refused:
            await authenticator.identify(bearer(account))
        assert refused.value.refusal.code is Code.UNAUTHORIZED
        authenticator.close()


async def test_one_key_on_many_connections_is_verified_once(rows: Rows, account: Account) -> None:
    async with open_pool(rows.url, role=Role.ENGINE, size_max=2) as pool:
        authenticator = Authenticator(
            pool, clock=asyncio.get_running_loop().time, rpm_default=60, board=BudgetBoard(lambda: 0.0)
        )
        callers = 10 * VERIFY_WAITING_MAX
        principals = await asyncio.gather(*(authenticator.identify(bearer(account)) for _ in range(callers)))
        assert len({id(principal) for principal in principals}) == 1
        authenticator.close()


async def test_more_unknown_keys_than_can_be_verified_are_503(rows: Rows) -> None:
    async with open_pool(rows.url, role=Role.ENGINE, size_max=2) as pool:
        authenticator = Authenticator(
            pool, clock=asyncio.get_running_loop().time, rpm_default=60, board=BudgetBoard(lambda: 0.0)
        )
        strangers = [f"Bearer {mint(os.urandom(ENTROPY_BYTES)).text}".encode() for _ in range(VERIFY_WAITING_MAX + 5)]
        answers = await asyncio.gather(*map(authenticator.identify, strangers), return_exceptions=True)
        codes = [answer.refusal.code for answer in answers if isinstance(answer, RefusedError)]
        assert codes.count(Code.UNAUTHORIZED) == VERIFY_WAITING_MAX
        assert codes.count(Code.OVERLOADED) == 5
        authenticator.close()


async def test_last_use_is_written_once_a_minute_and_waits_for_no_lock(rows: Rows, account: Account) -> None:
    now, begun = [0.0], datetime(2026, 11, 20, 12, tzinfo=UTC)
    shown = "SELECT last_used_at FROM api_keys WHERE id = %(id)s"
    ours = {"id": account.key_id}
    async with open_pool(rows.url, role=Role.ENGINE, size_max=2) as pool:
        first, second = (Authenticator(pool, clock=lambda: now[0], rpm_default=60, board=NOBODY) for _ in range(2))

        async def use(authenticator: Authenticator, at_s: float) -> int:
            now[0] = at_s
            await authenticator.identify(bearer(account))
            await authenticator.refresh()
            return await authenticator.note_uses(begun + timedelta(seconds=at_s))

        assert await first.note_uses(begun) == 0
        rows.execute("BEGIN")
        rows.execute("SELECT 1 FROM api_keys WHERE id = %(id)s FOR UPDATE", ours)
        assert await use(first, 1) == 1  # held by somebody: left for the next time
        rows.execute("COMMIT")
        assert rows.execute(shown, ours) == [(None,)]
        assert await use(first, 2) == 1
        assert rows.execute(shown, ours) == [(begun + timedelta(seconds=2),)]
        assert await use(first, 3) == 0
        assert await use(second, 4) == 1  # another process asks, and Postgres lets it wait
        assert rows.execute(shown, ours) == [(begun + timedelta(seconds=2),)]
        assert await use(first, 2 + USE_WRITTEN_EVERY_S) == 1
        assert rows.execute(shown, ours) == [(begun + timedelta(seconds=2 + USE_WRITTEN_EVERY_S),)]
        first.close()
        second.close()
