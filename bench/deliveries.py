"""`python -m bench.deliveries`: how late webhooks arrive at receivers that work, with and without 100 that hang.

One courier process as shipped, Postgres with fsync on, 1,000 endpoints of ten accounts. Events are written at a steady
rate, round the endpoints. The same is measured twice: once everybody answers, once every tenth takes the request and
says nothing until the courier gives up. The figures are those of the 900 others, from the row's INSERT to the request.
"""

import argparse
import asyncio
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import msgspec
import psycopg
import uvloop

from local.ports import LOOPBACK
from local.servers import run_servers
from migrations.runner import migrate

ACCOUNTS: Final = 10
ENDPOINTS: Final = 1_000
HANGS_EVERY: Final = 10
EVENTS_PER_S: Final = 200
SECONDS: Final = 20
TICK_S: Final = 0.05
# Until the courier runs, and until the last event has arrived.
PATIENCE_S: Final = 120.0
ANSWER: Final = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


class _Data(msgspec.Struct):
    at: float


class _Body(msgspec.Struct):
    data: _Data


class Receivers:
    """All endpoints behind one port; the path says which. Keeps how late each event came to those that answer."""

    def __init__(self) -> None:
        self.port = 0
        self.lateness_s: list[float] = []
        self.hang = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        number = int(head.partition(b"/e/")[2].partition(b" ")[0])
        body = msgspec.json.decode(await reader.readexactly(length), type=_Body)
        if number % HANGS_EVERY:
            self.lateness_s.append(time.time() - body.data.at)
        elif self.hang:
            await reader.read()
        writer.write(ANSWER)
        writer.close()


async def endpoints(connection: psycopg.AsyncConnection, port: int) -> list[tuple[UUID, UUID]]:
    """Make the endpoints, and return (endpoint, account) by number."""
    accounts = [uuid4() for _ in range(ACCOUNTS)]
    made = [(uuid4(), accounts[number % ACCOUNTS]) for number in range(ENDPOINTS)]
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO accounts (id, handle) VALUES (%s, %s)", [(one, f"a{one.hex[:12]}") for one in accounts]
        )
        await cursor.executemany(
            "INSERT INTO webhook_endpoints (id, account_id, url, event_types) VALUES (%s, %s, %s, '{*}')",
            [(one, account, f"http://{LOOPBACK}:{port}/e/{number}") for number, (one, account) in enumerate(made)],
        )
    return made


async def write_events(connection: psycopg.AsyncConnection, made: list[tuple[UUID, UUID]]) -> int:
    """Write events at the rate for the time; return how many went to receivers that work."""
    written = working = 0
    start = time.monotonic()
    while written < EVENTS_PER_S * SECONDS:
        due = min(int((time.monotonic() - start) * EVENTS_PER_S), EVENTS_PER_S * SECONDS)
        rows: list[tuple[object, ...]] = []
        for number in range(written, due):
            endpoint_id, account_id = made[number % ENDPOINTS]
            working += number % ENDPOINTS % HANGS_EVERY != 0
            payload = msgspec.json.encode(_Data(at=time.time())).decode()
            rows.append((uuid4(), account_id, uuid4(), endpoint_id, payload))
        written = due
        async with connection.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO outgoing (id, account_id, kind, event_id, event_type, endpoint_id, payload, created_at,"
                " next_attempt_at) VALUES (%s, %s, 'webhook', %s, 'webhook.test', %s, %s, now(), now())",
                rows,
            )
        await asyncio.sleep(TICK_S)
    return working


@asynccontextmanager
async def courier(database_url: str) -> AsyncGenerator[None]:
    """Run the courier as shipped."""
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database_url,
        "WEBHOOK_SIGNING_KEY": secrets.token_hex(32),
        "WEBHOOK_ALLOW_PRIVATE": f"{LOOPBACK}/32",
        "LOG_LEVEL": "error",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-P", "-m", "workers.courier", env=environment)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def measure(database_url: str, *, hang: bool) -> list[float]:
    """Return how late events came to receivers that work, in seconds, sorted."""
    receivers = Receivers()
    server = await asyncio.start_server(receivers.serve, LOOPBACK, 0, backlog=4096)
    receivers.port = server.sockets[0].getsockname()[1]
    async with (
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection,
        courier(database_url),
    ):
        await connection.execute("TRUNCATE outgoing, outgoing_attempts, webhook_endpoints CASCADE")
        made = await endpoints(connection, receivers.port)
        # Warm: the courier has started, and has met everybody once.
        working = await write_events(connection, made)
        await _until(lambda: len(receivers.lateness_s) >= working, "everybody has been met")
        receivers.lateness_s.clear()
        receivers.hang = hang
        working = await write_events(connection, made)
        await _until(lambda: len(receivers.lateness_s) >= working, "everything has arrived")
    server.close()
    return sorted(receivers.lateness_s)


async def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            message = f"after {PATIENCE_S:.0f} s it is not so that {what}"
            raise SystemExit(message)
        await asyncio.sleep(TICK_S)


def line(name: str, lateness_s: list[float]) -> str:
    cuts = statistics.quantiles(lateness_s, n=100)
    return f"| {name} | {len(lateness_s)} | {cuts[49] * 1000:.0f} ms | {cuts[98] * 1000:.0f} ms |"


def main() -> int:
    argparse.ArgumentParser(prog="python -m bench.deliveries", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="spell-bench-") as folder, run_servers(Path(folder)) as servers:
        uvloop.run(migrate(servers.database_url))
        everybody = uvloop.run(measure(servers.database_url, hang=False))
        others = uvloop.run(measure(servers.database_url, hang=True))
    print(f"{datetime.now(UTC):%Y-%m-%d}, load {os.getloadavg()[0]:.1f}, {EVENTS_PER_S} events a second")
    print("| 1,000 endpoints | events | p50 | p99 |\n|---|---|---|---|")
    print(line("all answer", everybody))
    print(line("100 hang; the 900 others", others))
    return 0


if __name__ == "__main__":
    sys.exit(main())
