"""The courier as a process: killed while it sends, two at once, asked to stop."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tests.workers.courier_world import SIGNING_KEY, Setting, make_setting
from tests.workers.receiver import receiving


@pytest.fixture
async def setting(database_url: str) -> AsyncGenerator[Setting]:
    async with make_setting(database_url) as made:
        yield made


# The courier as shipped, but patient: on a busy machine no attempt ends before the test has done its part.
PROGRAM = """
import functools, sys
import workers.courier.__main__ as courier
courier.WebhookClient = functools.partial(courier.WebhookClient, seconds_max=300.0)
sys.exit(courier.main())
"""


@asynccontextmanager
async def courier(setting: Setting) -> AsyncGenerator[Process]:
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": setting.world.database_url,
        "WEBHOOK_SIGNING_KEY": SIGNING_KEY.hex(),
        "WEBHOOK_ALLOW_PRIVATE": "127.0.0.0/8",
        "LOG_LEVEL": "warning",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-P", "-c", PROGRAM, env=environment)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return when the database shows it; another process works on that."""
    async with asyncio.timeout(300):
        while not await condition():  # noqa: ASYNC110  # no event of ours tells what another process wrote
            await asyncio.sleep(0.02)


async def delivered(setting: Setting, count: int) -> bool:
    return (await setting.statuses()).get("delivered", 0) >= count


async def all_taken(setting: Setting) -> bool:
    waiting = "SELECT FROM outgoing WHERE status = 'pending' AND lease_until IS NULL LIMIT 1"
    return not await setting.world.rows(waiting)


async def test_what_a_killed_courier_was_sending_arrives_again_after_its_lease_with_the_same_id(
    setting: Setting,
) -> None:
    async with receiving() as receiver:
        (event_id,) = await setting.events(endpoint_id=await setting.endpoint(receiver.url("/hold")))
        async with courier(setting) as killed:
            await receiver.wait_for(1)
            killed.kill()
            await killed.wait()
        row = await setting.row(event_id)
        assert (row.status, row.attempts, row.leased) == ("pending", 1, True)
        assert row.waits_s <= 30
        receiver.released.set()
        await setting.pass_time()
        async with courier(setting):
            first, second = await receiver.wait_for(2)
            await until(lambda: delivered(setting, 1))
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    # The first attempt has no entry: nobody lived to write it.
    assert [entry[:2] for entry in await setting.log(event_id)] == [(2, 200)]


async def test_two_couriers_share_the_work_and_one_that_is_killed_leaves_nothing_behind(setting: Setting) -> None:
    async with receiving() as receiver:
        for number in range(20):
            await setting.events(20, endpoint_id=await setting.endpoint(receiver.url(f"/ok/{number}")))
        async with courier(setting) as one, courier(setting):
            await receiver.wait_for(100)
            one.kill()
            await one.wait()
            await until(lambda: all_taken(setting))
            await setting.pass_time()
            await until(lambda: delivered(setting, 400))
    ids = [request.headers["webhook-id"] for request in receiver.received]
    assert len(set(ids)) == 400
    # A row was sent once for each time it was taken: nobody sent what another held.
    taken = await setting.world.rows("SELECT sum(attempts), (SELECT count(*) FROM outgoing_attempts) FROM outgoing")
    assert len(ids) <= taken[0][0]
    assert taken[0][1] >= 400


async def test_asked_to_stop_it_finishes_what_is_in_flight(setting: Setting) -> None:
    async with receiving() as receiver:
        (event_id,) = await setting.events(endpoint_id=await setting.endpoint(receiver.url("/hold")))
        async with courier(setting) as stopped:
            await receiver.wait_for(1)
            stopped.send_signal(signal.SIGTERM)
            receiver.released.set()
            async with asyncio.timeout(300):
                assert await stopped.wait() == 0
    assert (await setting.row(event_id)).status == "delivered"


async def test_a_setting_that_is_missing_is_named() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "workers.courier"),
        env={"PATH": os.environ["PATH"]},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert [line.partition(":")[0] for line in said.decode().splitlines()] == ["DATABASE_URL", "WEBHOOK_SIGNING_KEY"]
