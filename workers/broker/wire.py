"""The asynchronous side of the wire, for api, ledger and scheduler: put casts on it, ask about them, cancel them.

Every function raises redis.ConnectionError, redis.TimeoutError or redis.ResponseError (out of memory, no permission)
as they come; all may be repeated without harm. The ledger's side is `UsageReader`.
"""

from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

import msgspec
from redis.asyncio import Redis

from domain.model.ids import text_of
from domain.model.limits import DEADLINE_MS_MAX, INLINE_BYTES_MAX, MIB
from domain.model.messages import CastJob
from workers import keys
from workers.broker import replies, scripts
from workers.broker.async_link import AsyncLink
from workers.broker.link import Argument, Command, checked
from workers.broker.usage import UsageEntry, UsageReader

__all__ = [
    "UsageEntry",
    "UsageReader",
    "WireState",
    "decode_job",
    "encode_message",
    "missing",
    "put",
    "remove",
    "request_cancel",
    "wire_state",
    "workers_alive",
]

CAST_ACTOR: Final = "cast"
# A script blocks Redis while it runs: 128 jobs take well under a millisecond, and as few bytes as one read.
PUT_COUNT_MAX: Final = 128
PUT_BYTES_MAX: Final = 8 * MIB
MEMBERS_COUNT_MAX: Final = 1_000
# An input outlives its cast's deadline by this, should nobody delete it.
INPUT_GRACE_MS: Final = 10 * 60 * 1000
# No cast is older than this, so no cancel need be remembered longer.
CANCELED_LIFE_MS: Final = DEADLINE_MS_MAX + INPUT_GRACE_MS
ALIVE_WITHIN_MS: Final = 10_000


class WireState(msgspec.Struct, frozen=True, kw_only=True):
    """How full the wire of a pool is. `memory_bytes_max` is 0 when Redis has no limit set."""

    casts_open: int
    usage_length: int
    used_memory_bytes: int
    memory_bytes_max: int


class _CastMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A Dramatiq message as MsgpackEncoder reads it; the one argument is the msgpack of a CastJob."""

    queue_name: str
    args: tuple[bytes]
    message_id: str
    message_timestamp: int
    actor_name: str = CAST_ACTOR
    kwargs: dict[str, str] = {}
    options: dict[str, str] = {}


_encoder: Final = msgspec.msgpack.Encoder()
_job_decoder: Final = msgspec.msgpack.Decoder(CastJob)


async def put(
    redis: Redis, pool: str, jobs: Sequence[CastJob], *, shard: int = 0, within_s: float | None = None
) -> int:
    """Put casts on the wire and return how many were not on it yet; a cast that is stays as it is.

    Inputs longer than INLINE_BYTES_MAX are laid beside the stream here. `within_s` is as in `AsyncLink.run`.
    """
    if not jobs:
        return 0
    runs = [_put_run(pool, chunk, shard) for chunk in _chunks(jobs)]
    return sum(
        replies.integer(answer) for answer in await AsyncLink(redis).scripts(scripts.PUT, runs, within_s=within_s)
    )


async def missing(redis: Redis, pool: str, cast_ids: Sequence[UUID], *, shard: int = 0) -> list[UUID]:
    """Return those of the casts that are not on the wire, in the order given."""
    name = keys.open_set(pool, shard)
    chunks = [cast_ids[start : start + MEMBERS_COUNT_MAX] for start in range(0, len(cast_ids), MEMBERS_COUNT_MAX)]
    if not chunks:
        return []
    commands: list[Command] = [("SMISMEMBER", name, *(cast_id.bytes for cast_id in chunk)) for chunk in chunks]
    answers = await AsyncLink(redis).run(commands)
    members = [member for answer in answers for member in replies.integers(checked(answer))]
    return [cast_id for cast_id, member in zip(cast_ids, members, strict=True) if not member]


async def request_cancel(redis: Redis, pool: str, cast_ids: Iterable[UUID], *, shard: int = 0) -> None:
    """Have casts skipped or killed: workers ask with each read, and twice a second for what runs."""
    ids = [cast_id.bytes for cast_id in cast_ids]
    if not ids:
        return
    name = keys.canceled(pool, shard)
    commands: list[Command] = [("SADD", name, *ids), ("PEXPIRE", name, CANCELED_LIFE_MS)]
    for answer in await AsyncLink(redis).run(commands):
        checked(answer)


async def remove(redis: Redis, pool: str, cast_ids: Iterable[UUID], *, shard: int = 0) -> None:
    """Forget casts that became final without a usage event (expired): what lies beside the stream goes too.

    An entry that is still on the stream stays there; its event will find the cast final.
    """
    ids = list(cast_ids)
    if not ids:
        return
    raw = [cast_id.bytes for cast_id in ids]
    beside = [keys.input_beside(pool, cast_id, shard) for cast_id in ids]
    commands: list[Command] = [
        ("SREM", keys.open_set(pool, shard), *raw),
        ("SREM", keys.canceled(pool, shard), *raw),
        ("UNLINK", *beside),
    ]
    for answer in await AsyncLink(redis).run([("MULTI",), *commands, ("EXEC",)]):
        checked(answer)


async def wire_state(redis: Redis, pool: str, *, shard: int = 0) -> WireState:
    """Return how many casts are on the wire, how long the ledger's backlog is, and how full Redis is."""
    commands: list[Command] = [
        ("SCARD", keys.open_set(pool, shard)),
        ("XLEN", keys.usage(pool, shard)),
        ("INFO", "memory"),
    ]
    casts_open, usage_length, info = await AsyncLink(redis).run(commands)
    used_bytes, bytes_max = replies.memory(checked(info))
    return WireState(
        casts_open=replies.integer(checked(casts_open)),
        usage_length=replies.integer(checked(usage_length)),
        used_memory_bytes=used_bytes,
        memory_bytes_max=bytes_max,
    )


async def workers_alive(redis: Redis, pool: str, *, shard: int = 0) -> dict[str, bytes]:
    """Return what each worker says about itself, of those heard of within ALIVE_WITHIN_MS of Redis' clock."""
    link = AsyncLink(redis)
    seconds, microseconds = replies.byte_list(await link.call("TIME"))
    since_ms = int(seconds) * 1000 + int(microseconds) // 1000 - ALIVE_WITHIN_MS
    names = replies.byte_list(await link.call("ZRANGEBYSCORE", keys.workers(pool, shard), since_ms, "+inf"))
    if not names:
        return {}
    facts = replies.byte_list(await link.call("HMGET", keys.worker_facts(pool, shard), *names))
    return {name.decode(): fact or b"" for name, fact in zip(names, facts, strict=True)}


def decode_job(argument: bytes) -> CastJob:
    """Return the job in the argument of a cast message; msgspec.DecodeError when it is none."""
    return _job_decoder.decode(argument)


def encode_message(pool: str, job: CastJob) -> bytes:
    """Return the Dramatiq message of a job, as the actor's queue carries it."""
    message = _CastMessage(
        queue_name=pool,
        args=(_encoder.encode(job),),
        message_id=text_of(job.cast_id),
        message_timestamp=job.accepted_ms,
    )
    return _encoder.encode(message)


def _put_run(pool: str, jobs: Sequence[CastJob], shard: int) -> Command:
    names: list[Argument] = [keys.open_set(pool, shard), keys.jobs(pool, shard)]
    messages: list[Argument] = []
    beside: list[Argument] = []
    for number, job in enumerate(jobs, start=1):
        inside = job
        if job.input is not None and len(job.input) > INLINE_BYTES_MAX:
            names.append(keys.input_beside(pool, job.cast_id, shard))
            beside += (number, job.input, max(0, job.deadline_ms - job.accepted_ms) + INPUT_GRACE_MS)
            inside = msgspec.structs.replace(job, input=None)
        messages.append(encode_message(pool, inside))
    ids = [job.cast_id.bytes for job in jobs]
    return (len(names), *names, len(jobs), *ids, *messages, *beside)


def _chunks(jobs: Sequence[CastJob]) -> list[list[CastJob]]:
    chunks: list[list[CastJob]] = [[]]
    size_bytes = 0
    for job in jobs:
        if len(chunks[-1]) >= PUT_COUNT_MAX or size_bytes >= PUT_BYTES_MAX:
            chunks.append([])
            size_bytes = 0
        chunks[-1].append(job)
        size_bytes += len(job.input or b"")
    return chunks
