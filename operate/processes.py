"""The processes of `Procfile` on this machine, each with an environment that holds what its kind may know."""

import base64
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from domain.environment import Secret
from domain.model.messages import Pool
from domain.settings import ReleaseSettings, load
from gateways.signing import Signer

API: Final = "api"
WORKER: Final = "worker"
WORKER_LARGE: Final = "worker-large"
LEDGER: Final = "ledger"
COURIER: Final = "courier"
SCHEDULER: Final = "scheduler"

# A worker runs other people's code: it gets what is named here and nothing else of our environment.
_WORKER_NAMES: Final = frozenset(
    {
        *("HOME", "LANG", "LC_ALL", "PATH", "PYTHONPATH", "TMPDIR", "TZ", "VIRTUAL_ENV"),
        *("REDIS_URL", "ARTIFACT_URL", "ARTIFACT_VERIFY_KEY", "ARTIFACT_CACHE_DIR", "WORKER_TOKEN"),
        *("WORKER_THREADS", "SPELL_JAIL", "LOG_LEVEL", "PORT"),
    }
)
# One number for six processes would be one port for six listeners.
_NOT_SHARED: Final = frozenset({"METRICS_PORT"})
# A receiver that somebody is writing listens here.
_THIS_MACHINE: Final = "127.0.0.0/8,::1"
_OTHER_DATABASES: Final = ("ENGINE_DATABASE_URL", "MIGRATIONS_DATABASE_URL")
# Casts of this pool are rare and large; on one machine one at a time is what the memory allows.
_LARGE_THREADS: Final = "1"


class ProcessPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How one process is started."""

    name: str
    """As in Procfile."""
    command: tuple[str, ...]
    environment: dict[str, str]
    stops_at: int
    """Who stops at 0 takes work in, who stops last finishes it; those of one number stop together."""


def full_environment(
    environ: Mapping[str, str],
    *,
    kept: Mapping[str, str],
    database_url: str,
    redis_url: str,
    port: int,
    artifact_folder: Path,
) -> dict[str, str]:
    """Return everything any process on this machine may be told: what `environ` sets wins over what is `kept`.

    Raises SettingsError when the settings in `environ` are wrong.
    """
    given = {name: value for name, value in environ.items() if value}
    if given.get("DATABASE_URL") != database_url:
        # The database is ours: a URL for other roles leads to another one, which must not be mixed up with it.
        for name in _OTHER_DATABASES:
            given.pop(name, None)
    fixed = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "PORT": str(port)}
    ours = {"ARTIFACT_CACHE_DIR": str(artifact_folder), "WEBHOOK_ALLOW_PRIVATE": _THIS_MACHINE}
    whole = {**ours, **kept, **given, **fixed}
    whole.setdefault("ARTIFACT_VERIFY_KEY", _verify_key(load(ReleaseSettings, whole).artifact_signing_key))
    whole.setdefault("ARTIFACT_URL", f"http://127.0.0.1:{port}")
    return {name: value for name, value in whole.items() if name not in _NOT_SHARED}


def plans(environment: Mapping[str, str], redis_urls: Mapping[str, str] | None = None) -> list[ProcessPlan]:
    """Return the long-running processes; `redis_urls` has a URL of its own for each, by name."""
    others = dict(environment)
    worker = {name: value for name, value in environment.items() if name in _WORKER_NAMES}
    large = {**worker, "POOL": Pool.LARGE.value, "WORKER_THREADS": _LARGE_THREADS}
    planned = [
        ProcessPlan(name=API, command=_module("api"), environment=others, stops_at=0),
        ProcessPlan(name=SCHEDULER, command=_module("scheduler"), environment=others, stops_at=1),
        ProcessPlan(name=WORKER, command=_module("workers.cast"), environment=worker, stops_at=1),
        ProcessPlan(name=WORKER_LARGE, command=_module("workers.cast"), environment=large, stops_at=1),
        ProcessPlan(name=LEDGER, command=_module("workers.ledger"), environment=others, stops_at=2),
        # Last: what the ledger writes while it finishes still leaves.
        ProcessPlan(name=COURIER, command=_module("workers.courier"), environment=others, stops_at=3),
    ]
    return [_with_redis(plan, redis_urls) for plan in planned] if redis_urls else planned


def _with_redis(plan: ProcessPlan, redis_urls: Mapping[str, str]) -> ProcessPlan:
    """Give a process its own URL; one that has none, as the courier, knows of no Redis."""
    environment = {name: value for name, value in plan.environment.items() if name != "REDIS_URL"}
    if plan.name in redis_urls:
        environment["REDIS_URL"] = redis_urls[plan.name]
    return msgspec.structs.replace(plan, environment=environment)


def _module(name: str) -> tuple[str, ...]:
    # -P: a folder `api` where somebody happens to stand is not our program.
    return (sys.executable, "-P", "-m", name)


def _verify_key(signing_key: Secret[bytes]) -> str:
    return Signer(base64.b64encode(signing_key.reveal()).decode("ascii")).verify_key
