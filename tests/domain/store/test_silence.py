"""A network that drops packets says nothing: both ends of a session give up on a silent other.

What a silent Postgres does to the platform is shown in `tests/system/test_hosts.py`.
"""

import os
import socket

from domain.store.connection import SILENCE_MS, Pool, transaction

TCP_USER_TIMEOUT = 18  # Linux; Python 3.11 knows the name on some systems only.


async def test_our_end_gives_up_on_a_silent_server(pool: Pool) -> None:
    async with transaction(pool) as connection:
        with socket.socket(fileno=os.dup(connection.pgconn.socket)) as own:
            timeout_ms = own.getsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT)
            alive = own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle_seconds = own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    assert (timeout_ms, bool(alive)) == (SILENCE_MS, True)
    assert idle_seconds * 1000 <= SILENCE_MS


async def test_the_server_gives_up_on_our_silent_end_and_its_locks(pool: Pool) -> None:
    async with transaction(pool) as connection:
        row = await (await connection.execute(b"SELECT current_setting('tcp_user_timeout')")).fetchone()
    assert row == (str(SILENCE_MS),)
