"""What is done to the links between hosts; where there are none to cut, to the processes at their ends."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from random import Random

import psycopg

from operate.processes import API, LEDGER, SCHEDULER, WORKER
from tests.chaos import nemesis
from tests.chaos.arena import Arena
from tests.chaos.callers import Callers
from tests.chaos.checker import UNAVAILABLE
from tests.chaos.history import Call, now
from tests.chaos.hosts import HTTP, NAMES, POSTGRES, REDIS, SpreadStack
from tests.chaos.nemesis import Fault
from tests.chaos.network import Cut, Network
from tests.stack import API_2, until

# Shorter and longer than every patience: 0.2 s of the rate limiter, 2 s of a pool, 5 s of a silent session.
CUT_SECONDS = (0.5, 3.0, 7.0, 12.0)
# A slot comes every second; nobody is kept from the casts for longer than this in one piece.
HELD_SECONDS_MAX = 3.0
SLOT_SECONDS_MAX = 60.0
LINKS = ((WORKER, REDIS), (LEDGER, POSTGRES), (LEDGER, REDIS), (API, REDIS), (API, POSTGRES), (SCHEDULER, REDIS))
# Callers ask again all the time; what is waited for is 5 s of silence and the end of a batch or two, on a busy machine.
TOLD_SECONDS_MAX = 90.0
APIS = (API, API_2)
UNFINISHED = "SELECT job, slot FROM scheduled_runs WHERE finished_at IS NULL"


def hosts_of(kind: str) -> list[str]:
    return [name for name in NAMES if name == kind or name.rpartition("-")[::2] in {(kind, "2"), (kind, "3")}]


def cut(network: Network, kind: str, to: str, lengths: Sequence[float] = CUT_SECONDS) -> Fault:
    """Cut one host of a kind off from a network, for a while and in some way."""

    def do(arena: Arena, _callers: Callers, rng: Random) -> None:
        host = rng.choice(hosts_of(kind))
        how = rng.choice([one for one in Cut if to != HTTP or one is not Cut.ONE_WAY])
        seconds = rng.choice(lengths)
        with arena.fault(f"cut {kind} from {to}", f"{host}, {how.value}, {seconds} s"):
            network.cut(host, to, how)
            time.sleep(seconds)
            network.heal(host, to, how)

    return do


def cut_server(network: Network, server: str) -> Fault:
    """Cut everybody off from a server."""

    def do(arena: Arena, _callers: Callers, rng: Random) -> None:
        how, seconds = rng.choice((Cut.SILENT, Cut.DOWN)), rng.choice(CUT_SECONDS)
        with arena.fault(f"cut all from {server}", f"{how.value}, {seconds} s"):
            network.cut(server, server, how)
            time.sleep(seconds)
            network.heal(server, server, how)
        arena.stack.reconnect()

    return do


def cut_until_callers_are_told(network: Network) -> Fault:
    """Have Postgres go silent on an api, and mend it only when callers of that api are told 503.

    Left to the kernel, its one batch would wait for a quarter of an hour and everybody's requests behind it.
    """

    def do(arena: Arena, _callers: Callers, rng: Random) -> None:
        number = rng.randrange(len(APIS))
        how = rng.choice(list(Cut))
        with arena.fault(f"cut {API} from {POSTGRES} until 503", f"{APIS[number]}, {how.value}"):
            cut_at = now()
            network.cut(APIS[number], POSTGRES, how)
            try:
                until(
                    lambda: _told(arena, number, "cast", cut_at) and _told(arena, number, "read", cut_at),
                    f"{APIS[number]} tells its callers that it does not hear Postgres",
                    TOLD_SECONDS_MAX,
                )
            finally:
                network.heal(APIS[number], POSTGRES, how)

    return do


def _told(arena: Arena, api: int, kind: str, since: float) -> bool:
    return any(
        call.status == UNAVAILABLE and call.api == api and call.kind == kind and call.sent_at >= since
        for call in list(arena.history.events)
        if isinstance(call, Call)
    )


def cut_with_a_slot(network: Network) -> Fault:
    """Cut a scheduler off from Postgres while it holds a slot, and see the other one go on."""

    def do(arena: Arena, _callers: Callers, rng: Random) -> None:
        one, other = rng.sample(hosts_of(SCHEDULER), k=2)
        how = rng.choice(list(Cut))
        arena.stack.kill(other)
        stop_with_a_slot(arena, one)
        with arena.fault(f"cut {SCHEDULER} from {POSTGRES} with a slot", f"{one}, {how.value}"):
            network.cut(one, POSTGRES, how)
            _signal(arena, one, signal.SIGCONT)
            before = _finished(arena)
            arena.restart(other)
            try:
                until(lambda: _finished(arena) > before, f"{other} runs slots while {one} is cut off", SLOT_SECONDS_MAX)
            finally:
                network.heal(one, POSTGRES, how)

    return do


def stop_with_a_slot(arena: Arena, scheduler: str) -> None:
    """SIGSTOP the only scheduler while a slot is begun and not finished: its job waits for a table that we hold."""
    old = set(arena.stack.rows.execute(UNFINISHED))
    deadline = time.monotonic() + SLOT_SECONDS_MAX
    with psycopg.connect(arena.stack.database_url) as connection:
        while time.monotonic() < deadline:
            with connection.transaction():
                connection.execute("LOCK TABLE casts IN ACCESS EXCLUSIVE MODE")
                let_go_at = time.monotonic() + HELD_SECONDS_MAX
                while time.monotonic() < let_go_at and not set(arena.stack.rows.execute(UNFINISHED)) - old:
                    time.sleep(0.005)
                _signal(arena, scheduler, signal.SIGSTOP)
            if set(arena.stack.rows.execute(UNFINISHED)) - old:
                return
            _signal(arena, scheduler, signal.SIGCONT)
    message = f"{scheduler} was never seen with a slot"
    raise AssertionError(message)


def freeze(kind: str) -> Fault:
    """Stop one of several where it is, as a cut from everything would."""

    def do(arena: Arena, callers: Callers, rng: Random) -> None:
        nemesis.freeze(rng.choice(hosts_of(kind)))(arena, callers, rng)

    return do


def kill(kind: str) -> Fault:
    def do(arena: Arena, callers: Callers, rng: Random) -> None:
        nemesis.kill(rng.choice(hosts_of(kind)))(arena, callers, rng)

    return do


def links(network: Network) -> list[Fault]:
    """Return every cut once."""
    return [
        *(cut(network, kind, to) for kind, to in LINKS),
        cut(network, WORKER, HTTP),
        cut_server(network, POSTGRES),
        cut_server(network, REDIS),
        cut_until_callers_are_told(network),
        cut_with_a_slot(network),
    ]


def faults(network: Network | None) -> list[Fault]:
    """Return what is done to hosts: without links to cut, processes are stopped instead."""
    kinds: Sequence[str] = (API, WORKER, LEDGER, SCHEDULER)
    killing = [kill(kind) for kind in kinds]
    if network is None:
        return [*killing, *(freeze(kind) for kind in kinds), nemesis.freeze_postgres, nemesis.freeze_redis]
    return [*killing, *links(network)]


def network_of(arena: Arena) -> Network | None:
    assert isinstance(arena.stack, SpreadStack)
    site = arena.stack.site
    return site if isinstance(site, Network) else None


def _finished(arena: Arena) -> int:
    return arena.stack.rows.execute("SELECT count(*) FROM scheduled_runs WHERE finished_at IS NOT NULL")[0][0]


def _signal(arena: Arena, name: str, number: signal.Signals) -> None:
    for process_id in arena.process_ids(name):
        with suppress(ProcessLookupError):
            os.kill(process_id, number)
