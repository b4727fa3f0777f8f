"""The scheduler's own process makes a large export: killed in between, and in memory that does not grow with it."""

import asyncio
import os
import secrets
import subprocess
import sys
import time
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import msgspec

from tests.domain.world import World, make_world

REPOSITORY = Path(__file__).parents[2]
CASTS = 20_000
# Of each cast, in and out together; all of them are twice what the process may take more.
DATA_BYTES = 8 * 1024
GROWTH_BYTES_MAX = 80 << 20
PATIENCE_SECONDS = 300
# Ids rise by a millisecond each, and end some time before now: all are of the partition of their month.
MAKE_CASTS = """
    INSERT INTO casts (id, account_id, spell_id, version_id, status, pool, on_wire, accepted_at, deadline_at,
      fuel_limit, wall_ms_limit, memory_bytes_limit, output_bytes_limit, log_bytes_limit, price_version,
      creator_price_micros, creator_id, held_micros, cost_micros, funding, input, output)
    SELECT overlay(gen_random_uuid()::text PLACING left(uuid7_floor(at)::text, 14) || '7' FROM 1 FOR 15)::uuid,
      %s, %s, %s, 'succeeded', 'default', false, at, at, 1, 1, 1, 1, 1, 1, 0, %s, 0, 0, 'metered',
      convert_to(repeat(md5(n::text), {repeats}), 'UTF8'), convert_to(repeat(md5(n::text), {repeats}), 'UTF8')
    FROM (SELECT n, greatest(now() - interval '1 minute', date_trunc('month', now())) + n * interval '1 microsecond'
      AS at FROM generate_series(1, {casts}) AS n) AS instants
"""


class SchedulerProcess:
    """A scheduler of this test's own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def memory_bytes(self, field: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1]) * 1024

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def run_scheduler(world: World, redis_url: str, token_key: str) -> Generator[SchedulerProcess]:
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": world.database_url,
        "REDIS_URL": redis_url,
        "CAST_TOKEN_KEY": token_key,
    }
    process = subprocess.Popen([sys.executable, "-m", "scheduler"], cwd=REPOSITORY, env=environment)
    running = SchedulerProcess(process)
    try:
        yield running
    finally:
        running.kill()


async def until(world: World, running: SchedulerProcess, condition: str) -> None:
    """Wait until the export of this world is as `condition` says."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await world.rows(f"SELECT id FROM privacy_exports WHERE {condition}"):  # noqa: S608  # our own words
        assert running.process.poll() is None, "the scheduler ended"
        assert time.monotonic() < deadline, await world.rows("SELECT status, pieces FROM privacy_exports")
        await asyncio.sleep(0.05)


async def test_a_killed_scheduler_is_replaced_and_memory_does_not_grow_with_the_casts(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    world = await make_world(database_url)
    make = MAKE_CASTS.format(repeats=DATA_BYTES // 64, casts=CASTS)
    await world.rows(make, world.account_id, world.spell_id, world.version_id, world.creator_id)
    await world.rows("INSERT INTO users (id, account_id) VALUES (%s, %s)", uuid4(), world.account_id)
    ask = (
        "INSERT INTO privacy_exports (id, account_id, user_id, created_at) SELECT %s, account_id, id, now() FROM users"
    )
    token_key = secrets.token_hex(32)
    with run_scheduler(world, redis_url, token_key) as first:
        await world.rows(ask, uuid4())
        await until(world, first, "pieces > 25")  # among the casts
        first.kill()
    assert await world.rows("SELECT status FROM privacy_exports") == [("running",)]
    # The lease of a dead process ends after a minute; this is that minute.
    await world.rows("UPDATE privacy_exports SET lease_until = now()")
    with run_scheduler(world, redis_url, token_key) as second:
        await until(world, second, "pieces > 30 OR status = 'ready'")
        begins = second.memory_bytes("VmRSS")
        await until(world, second, "status = 'ready'")
        grown = second.memory_bytes("VmHWM") - begins
        assert grown < GROWTH_BYTES_MAX
    path = tmp_path / "export.zip"
    with path.open("wb") as file:
        for (piece,) in await world.rows("SELECT bytes FROM privacy_export_pieces ORDER BY piece"):
            file.write(piece)
    with zipfile.ZipFile(path) as archive:
        casts = msgspec.json.decode(archive.read("casts.json"))
    kept = await world.rows("SELECT id::text FROM casts ORDER BY id")
    assert [cast["id"] for cast in casts] == [cast_id for (cast_id,) in kept]
    assert len(casts) == CASTS
    assert all(len(cast["input"]) + len(cast["output"]) == DATA_BYTES for cast in casts)
