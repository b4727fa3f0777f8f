"""Processes and servers are killed or asked to stop, the wire is wiped: no accepted cast is lost or paid twice."""

import os
import signal
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from local.servers import Servers
from operate.processes import API, LEDGER, SCHEDULER, WORKER
from tests.api.platform import Account
from tests.stack import Stack, until
from tests.system.load import Load
from workers import keys

# Between two faults enough is accepted that every process has work in hand.
CASTS_BETWEEN_FAULTS = 40
# An entry of a dead consumer is taken over after 5 s, a cast missing on the wire is put there again after 2 s.
ENDED_SECONDS_MAX = 45.0
# A sandbox starts with less CPU than this, and no other cast runs meanwhile.
BUSY_CPU_SECONDS = 1.2
# What a process has taken and not finished, others get only after a pause.
HELD_BY = {
    WORKER: (keys.jobs("default"), keys.jobs_group()),
    LEDGER: (keys.usage("default"), keys.usage_group()),
}


@pytest.fixture
def account(stack: Stack) -> Generator[Account]:
    yield stack.account()
    stack.start()
    stack.settle_all(ENDED_SECONDS_MAX)
    assert stack.broken_books() == {}


def assert_each_ended_once(stack: Stack, account: Account, accepted: list[str]) -> None:
    """Check that all casts that were answered for exist and are final, and that nothing else was made."""
    stack.settle_all(ENDED_SECONDS_MAX)
    rows = stack.rows.execute(
        "SELECT c.id, c.status, (SELECT count(*) FROM usage_events u WHERE u.id = c.id), c.error_code"
        " FROM casts c WHERE c.account_id = %(id)s",
        {"id": account.id},
    )
    assert {row[0] for row in rows} >= {UUID(one) for one in accepted}
    assert len(set(accepted)) == len(accepted)
    assert [row for row in rows if row[1:] != ("succeeded", 1, None)] == []
    assert stack.broken_books() == {}


@pytest.mark.parametrize("name", [API, WORKER, LEDGER, SCHEDULER])
def test_a_killed_process_loses_no_cast(stack: Stack, account: Account, name: str) -> None:
    with Load(stack, account) as load:
        load.wait_for(CASTS_BETWEEN_FAULTS)
        stack.kill(name)
        load.wait_for(CASTS_BETWEEN_FAULTS)
        stack.children[name].start()
        load.wait_for(CASTS_BETWEEN_FAULTS)
    stack.wait_ready()
    assert_each_ended_once(stack, account, load.accepted)


def test_a_wiped_wire_loses_no_cast(stack: Stack, account: Account) -> None:
    with Load(stack, account) as load, stack.redis() as redis:
        for _ in range(3):
            load.wait_for(CASTS_BETWEEN_FAULTS)
            redis.flushall()
        load.wait_for(CASTS_BETWEEN_FAULTS)
    assert_each_ended_once(stack, account, load.accepted)


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_a_killed_server_loses_no_cast(stack: Stack, account: Account, servers: Servers, name: str) -> None:
    server = {"postgres": servers.postgres, "redis": servers.redis}[name]
    if server is None:
        pytest.skip(f"{name} is not ours to kill")
    with Load(stack, account) as load:
        load.wait_for(CASTS_BETWEEN_FAULTS)
        server.kill()
        server.start()
        stack.reconnect()
        load.wait_for(CASTS_BETWEEN_FAULTS)
    assert_each_ended_once(stack, account, load.accepted)


def test_a_wire_wiped_while_it_is_full_is_filled_again_and_no_fuller(stack: Stack, account: Account) -> None:
    stack.stop(WORKER)
    with stack.client(account) as client:
        accepted = [client.post("/v1/casts", json={"spell": "dev/empty"}).json()["id"] for _ in range(60)]
    with stack.redis() as redis:
        jobs = keys.jobs("default")
        until(lambda: redis.xlen(jobs) >= len(accepted), "all are on the wire")
        redis.flushall()
        until(lambda: redis.xlen(jobs) >= len(accepted), "all are on the wire again")
        assert redis.xlen(jobs) == len(accepted)
    stack.start(WORKER)
    assert_each_ended_once(stack, account, accepted)


@pytest.mark.parametrize("name", [WORKER, LEDGER])
def test_a_process_asked_to_stop_finishes_what_it_began(stack: Stack, account: Account, name: str) -> None:
    with Load(stack, account, "work", wait_seconds=1) as load:
        load.wait_for(10)
        stack.stop(name)
        assert stack.children[name].exit_code == 0
        with stack.redis() as redis:
            stream, group = HELD_BY[name]
            assert redis.xpending(stream, group)["pending"] == 0
        load.wait_for(5)
        stack.children[name].start()
    assert_each_ended_once(stack, account, load.accepted)


def test_an_api_asked_to_stop_answers_who_waits(stack: Stack, account: Account) -> None:
    answers: list[httpx.Response] = []

    def wait() -> None:
        with stack.client(account) as client:
            answers.append(client.post("/v1/cast", json={"spell": "dev/work"}))

    callers = [threading.Thread(target=wait) for _ in range(8)]
    for caller in callers:
        caller.start()
    made = "SELECT count(*) FROM casts WHERE account_id = %(id)s"
    until(lambda: stack.rows.execute(made, {"id": account.id}) == [(8,)], "all are accepted")
    stack.stop(API)
    for caller in callers:
        caller.join()
    assert stack.children[API].exit_code == 0
    assert [answer.status_code for answer in answers if answer.status_code not in {200, 202}] == []
    assert len(answers) == 8
    assert_each_ended_once(stack, account, [answer.json()["id"] for answer in answers])


def test_a_cast_whose_sandbox_dies_every_time_is_poison_and_free_of_charge(stack: Stack, account: Account) -> None:
    with stack.client(account) as client, stack.redis() as redis:
        dead = redis.xlen(keys.dead("default"))
        body = {"spell": "dev/spin", "limits": {"fuel": 30_000_000_000, "wall_ms": 25_000}}
        cast_id = client.post("/v1/casts", json=body).json()["id"]
        killed = kill_busy_sandboxes(stack, lambda: client.get(f"/v1/casts/{cast_id}").json()["status"] == "failed")
        ended = client.get(f"/v1/casts/{cast_id}").json()
        assert ended["error"]["code"] == "poison"
        assert ended["cost"]["cost_micros"] == 0
        assert killed == 3
        assert redis.xlen(keys.dead("default")) == dead + 1
        assert client.post("/v1/cast", json={"spell": "dev/empty"}).json()["status"] == "succeeded"


def kill_busy_sandboxes(stack: Stack, ended: Callable[[], bool]) -> int:
    """SIGKILL each sandbox of the default pool's worker while it is busy, until `ended`; return how many."""
    worker = stack.children[WORKER].process_id
    assert worker is not None
    seen_cpu_seconds: dict[int, float] = {}
    killed: set[int] = set()

    def step() -> bool:
        for sandbox in children_of(worker) - killed:
            used = cpu_seconds(sandbox)
            if used - seen_cpu_seconds.setdefault(sandbox, used) > BUSY_CPU_SECONDS:
                os.kill(sandbox, signal.SIGKILL)
                killed.add(sandbox)
        return ended()

    until(step, "the cast has ended")
    return len(killed)


def children_of(process: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{process}/task").iterdir():
        found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def cpu_seconds(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
