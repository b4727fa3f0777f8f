"""Two versions at once, as every deploy has them: processes of the old one beside messages, and engines, of the new."""

import asyncio
import sys
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from domain.flow.resend import jobs
from domain.model.messages import MESSAGE_VERSION, CastJob
from domain.settings import ReleaseSettings, load
from domain.store.connection import Role, open_pool, transaction
from operate import release
from operate.processes import WORKER
from operate.supervisor import Child
from tests.stack import Stack, until
from workers import keys
from workers.broker import wire
from workers.broker.async_link import open_redis

OLD_ENGINE = "an-older-engine"
# What the next version of the program would be, as far as messages go.
NEWER_WORKER = (
    "import domain.model.messages as messages; messages.MESSAGE_VERSION += 1;"
    "import sys; from workers.cast import main; sys.exit(main())"
)


@pytest.fixture
def http(stack: Stack) -> Generator[httpx.Client]:
    with stack.client(stack.account()) as client:
        yield client
    stack.settle_all()
    assert stack.broken_books() == {}


@pytest.fixture
def newer_worker(stack: Stack) -> Generator[Child]:
    plan = stack.children[WORKER].plan
    newer = msgspec.structs.replace(plan, name="worker-newer", command=(sys.executable, "-P", "-c", NEWER_WORKER))
    child = Child(newer, stack.children[WORKER].log_file.parent)
    yield child
    child.kill()


def post(client: httpx.Client, path: str, spell: str) -> dict[str, Any]:
    answer = client.post(path, json={"spell": f"dev/{spell}", "input": 1})
    assert answer.status_code in {200, 202}, answer.text
    return answer.json()


def status(client: httpx.Client, cast_id: str) -> str:
    return client.get(f"/v1/casts/{cast_id}").json()["status"]


async def make_newer(stack: Stack, cast_id: UUID) -> CastJob:
    """Put the cast's job on the wire as an api of the next version would have."""
    async with (
        open_redis(stack.redis_url) as redis,
        open_pool(stack.database_url, role=Role.ENGINE, size_max=1) as pool,
        transaction(pool) as connection,
    ):
        (job,) = await jobs(connection, [cast_id], token_key=stack.token_key)
        await wire.remove(redis, "default", [cast_id])
        await redis.delete(keys.jobs("default"))
        newer = msgspec.structs.replace(job, v=MESSAGE_VERSION + 1)
        assert await wire.put(redis, "default", [newer]) == 1
    return newer


def test_an_old_worker_goes_on_beside_a_new_api_and_leaves_its_messages_to_a_new_worker(
    stack: Stack, http: httpx.Client, newer_worker: Child
) -> None:
    stack.stop(WORKER)
    newer = post(http, "/v1/casts", "echo")["id"]
    until(lambda: stack.redis().xlen(keys.jobs("default")) == 1, "the job is on the wire")
    asyncio.run(make_newer(stack, UUID(newer)))
    stack.start(WORKER)
    for _ in range(20):
        assert post(http, "/v1/cast", "echo")["status"] == "succeeded"
    assert status(http, newer) == "queued"
    assert stack.redis().xlen(keys.jobs("default")) == 1
    assert stack.redis().xlen(keys.dead("default")) == 0
    newer_worker.start()
    stack.stop(WORKER)
    until(lambda: status(http, newer) == "succeeded", "the newer worker ran the newer job")
    assert post(http, "/v1/cast", "echo")["status"] == "succeeded"


def test_release_compiles_for_a_new_engine_and_leaves_the_old_ones_artifacts(stack: Stack, http: httpx.Client) -> None:
    to_old = {"old": OLD_ENGINE}
    stack.rows.execute("UPDATE artifacts SET engine_key = %(old)s", to_old)
    lost = post(http, "/v1/cast", "empty")
    assert (lost["status"], lost["error"]["code"], lost["cost"]["cost_micros"]) == ("failed", "platform_error", 0)
    modules = stack.rows.execute("SELECT count(DISTINCT digest) FROM spell_versions")[0][0]
    settings = load(ReleaseSettings, stack.environment)
    lines: list[str] = []
    for _ in range(2):
        asyncio.run(release.run(settings, now=datetime.now(UTC), report=lines.append))
    assert [line.split(" compiled")[0] for line in lines if line.startswith("modules:")] == [
        f"modules: {modules}",
        "modules: 0",
    ]
    assert post(http, "/v1/cast", "empty")["status"] == "succeeded"
    kept = stack.rows.execute("SELECT count(*) FROM artifacts WHERE engine_key = %(old)s", to_old)
    assert kept == [(modules,)]
