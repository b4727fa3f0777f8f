"""Every key, group and channel name in Redis, one documented function each; nothing else in the platform spells a key.

A pool is a Dramatiq queue: the jobs of the pool `default` are the stream of the queue `default`. All names of one
shard carry the hash tag `{pool:shard}`, so a cluster keeps them on one node and one MULTI or script may touch them all.
The shard is 0 until streams are sharded by account.
"""

from typing import Final
from uuid import UUID

JOBS_GROUP: Final = "workers"
USAGE_GROUP: Final = "ledger"


def _tagged(pool: str, shard: int, name: str) -> str:
    return f"{{{pool}:{shard}}}:{name}"


def jobs(queue: str, shard: int = 0) -> str:
    """Stream of messages to run. Fields: `m` the encoded message; `s` when it was a suspect before a requeue."""
    return _tagged(queue, shard, "jobs")


def jobs_group() -> str:
    """Consumer group of all workers on `jobs`."""
    return JOBS_GROUP


def delayed(queue: str, shard: int = 0) -> str:
    """Sorted set of messages not yet due: a 16-byte nonce and the encoded message, scored by epoch milliseconds."""
    return _tagged(queue, shard, "delayed")


def dead(queue: str, shard: int = 0) -> str:
    """Stream of messages nobody will run. Fields: `m` the encoded message, `r` the reason."""
    return _tagged(queue, shard, "dead")


def starts(queue: str, shard: int = 0) -> str:
    """Hash of job entry id to the number of starts recorded for it; only suspects are in it."""
    return _tagged(queue, shard, "starts")


def workers(pool: str, shard: int = 0) -> str:
    """Sorted set of worker names, scored by their last sign of life in epoch milliseconds of Redis' clock."""
    return _tagged(pool, shard, "workers")


def worker_facts(pool: str, shard: int = 0) -> str:
    """Hash of worker name to what it says about itself (slots, engine, jail), as bytes the worker process chose."""
    return _tagged(pool, shard, "workers:facts")


def open_set(pool: str, shard: int = 0) -> str:
    """Set of the 16-byte ids of the casts that are on the wire, from `put` until the ledger finishes their event."""
    return _tagged(pool, shard, "open")


def canceled(pool: str, shard: int = 0) -> str:
    """Set of the 16-byte ids of the casts that are to be killed or skipped."""
    return _tagged(pool, shard, "canceled")


def usage(pool: str, shard: int = 0) -> str:
    """Stream of usage events. Field: `e` the encoded event, or `es` a list of several in msgpack."""
    return _tagged(pool, shard, "usage")


def usage_group() -> str:
    """Consumer group of all ledger processes on `usage`."""
    return USAGE_GROUP


def usage_dead(pool: str, shard: int = 0) -> str:
    """Stream of usage events that are never settled. Fields: `e` the encoded event, `r` the reason."""
    return _tagged(pool, shard, "usage:dead")


def input_beside(pool: str, cast_id: UUID, shard: int = 0) -> str:
    """Input of a cast that is too long for the stream."""
    return _tagged(pool, shard, f"input:{cast_id.hex}")


def output_beside(pool: str, cast_id: UUID, shard: int = 0) -> str:
    """Output of a cast that is too long for the stream."""
    return _tagged(pool, shard, f"output:{cast_id.hex}")


def wake_channel() -> str:
    """Channel of the casts that became final: see `workers.broker.waking`."""
    return "wake"


def rate(subject: str) -> str:
    """When the caller `subject` has its whole rate back, in microseconds of Redis' clock. One slot for one script."""
    return f"{{rate}}:{subject}"
