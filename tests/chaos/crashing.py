"""A process of the platform that kills itself at a named point: `SPELL_CRASH_POINT=name:n python crashing.py`.

The point is wrapped around the product's code from outside, so the product knows nothing of it. `n` counts how often
the point is reached. Run as a program; `POINTS` says which process has which points.
"""

import importlib
import inspect
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple

ENVIRONMENT_NAME = "SPELL_CRASH_POINT"


class Point(NamedTuple):
    """Where to die: before or after a call of `target`, which is `module:name.name`, if `counts` says so of it."""

    process: str
    target: str
    after: bool = False
    counts: Callable[[Sequence[Any]], object] = lambda _arguments: True


MODULES = {
    "api-2": "api.__main__",
    "worker": "workers.cast",
    "ledger": "workers.ledger",
    "scheduler": "scheduler.__main__",
}


def _transaction_of_reports(arguments: Sequence[Any]) -> object:
    """Tell whether Link.run was given the flusher's transaction."""
    return arguments[1] and arguments[1][0] == ("MULTI",)


def _wakes(arguments: Sequence[Any]) -> object:
    commands = arguments[1]
    return len(commands) > 1 and commands[0][0] == "PUBLISH"


def _has_reports(arguments: Sequence[Any]) -> object:
    return arguments[1]


def _has_jobs(arguments: Sequence[Any]) -> object:
    return arguments[2]


POINTS = {
    "api, held and not committed": Point("api-2", "api.admission.batcher:reserve", after=True),
    "api, committed and not answered": Point("api-2", "api.admission.batcher:Batcher._answer"),
    "api, answered and not on the wire": Point("api-2", "api.admission.wire:put", counts=_has_jobs),
    "api, on the wire and not forgotten": Point("api-2", "api.admission.wire:put", after=True, counts=_has_jobs),
    "api, canceled and nobody told": Point("api-2", "api.casts.reading:request_cancel"),
    "worker, taken and not run": Point("worker", "workers.cast:CastWorker._execute"),
    "worker, run and not reported": Point("worker", "workers.cast:CastWorker._report"),
    "worker, reported and not sent": Point("worker", "workers.broker.flusher:Flusher._flush", counts=_has_reports),
    "worker, half of a report sent": Point("worker", "workers.broker.link:Link.run", counts=_transaction_of_reports),
    "worker, report sent and not confirmed": Point(
        "worker", "workers.broker.flusher:Flusher._flush", after=True, counts=_has_reports
    ),
    "ledger, read and not settled": Point("ledger", "workers.ledger:Ledger._settle", counts=_has_reports),
    "ledger, settled and not committed": Point("ledger", "workers.ledger:settle_as_read", after=True),
    "ledger, committed and next not put": Point("ledger", "workers.ledger:Ledger._finish"),
    "ledger, next put and not finished": Point("ledger", "workers.ledger:Ledger._put", after=True),
    "ledger, woken and not finished": Point("ledger", "workers.broker.usage:UsageReader._run", counts=_wakes),
    "scheduler, missing found and not put": Point("scheduler", "scheduler.jobs:wire.put", counts=_has_jobs),
    "scheduler, missing put and slot not finished": Point(
        "scheduler", "scheduler.jobs:wire.put", after=True, counts=_has_jobs
    ),
    "scheduler, expired and not removed": Point("scheduler", "scheduler.jobs:wire.remove", counts=_has_jobs),
}
# Of these all but the end of the commands is sent before the process dies: the transaction, or that after the waking.
HALVED = {"worker, half of a report sent", "ledger, woken and not finished"}


def main() -> int:
    name, _, count = os.environ.pop(ENVIRONMENT_NAME).rpartition(":")
    point = POINTS[name]
    module = importlib.import_module(MODULES[point.process])
    _arm(point, int(count), halved=name in HALVED)
    return module.main()


def _arm(point: Point, count: int, *, halved: bool) -> None:
    module_name, _, path = point.target.partition(":")
    *owners, last = path.split(".")
    owner = reduce(getattr, owners, importlib.import_module(module_name))
    original = getattr(owner, last)
    left = [count]

    def is_due(arguments: Sequence[Any]) -> bool:
        left[0] -= bool(point.counts(arguments))
        return left[0] == 0 and bool(point.counts(arguments))

    def shortened(arguments: Sequence[Any]) -> Sequence[Any]:
        return (arguments[0], arguments[1][:-1], *arguments[2:])

    def call(*arguments: Any, **named: Any) -> Any:
        due = is_due(arguments)
        if due and not point.after and not halved:
            _die()
        result = original(*(shortened(arguments) if due and halved else arguments), **named)
        if due:
            _die()
        return result

    async def call_async(*arguments: Any, **named: Any) -> Any:
        due = is_due(arguments)
        if due and not point.after and not halved:
            _die()
        result = await original(*(shortened(arguments) if due and halved else arguments), **named)
        if due:
            _die()
        return result

    setattr(owner, last, call_async if inspect.iscoroutinefunction(original) else call)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
