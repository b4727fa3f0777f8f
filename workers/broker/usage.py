"""The ledger's side of the wire: read usage events, finish them, or park what can never be settled."""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final
from uuid import UUID

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from domain.model.limits import MIB
from domain.model.messages import MESSAGE_VERSION, UsageEvent
from workers import keys
from workers.broker import replies
from workers.broker.async_link import AsyncLink
from workers.broker.bundle import unbundled
from workers.broker.link import Command, Reply, checked

BATCH_COUNT_MAX: Final = 500
BATCH_BYTES_MAX: Final = 8 * MIB
# Another ledger process that has not finished a batch for this long is dead, or will meet the gate.
CLAIM_IDLE_MS: Final = 5_000
# How often to look for those, unless the last look found as many as it may. Before each read it cost 0.3 ms.
CLAIM_EVERY_S: Final = 1.0
# Entries asked for at once. Each has 64 events or 32 KiB of them at most, or one of 100 KiB: a step overshoots the
# batch by a few MiB, and what is over is carried.
STEP_COUNT_MAX: Final = 32
# Parked events are for people; the bound keeps a forger from filling Redis.
PARKED_MAX: Final = 10_000

_decoder: Final = msgspec.msgpack.Decoder(UsageEvent)


class _Versioned(msgspec.Struct, frozen=True, kw_only=True):
    v: int


class _NewerVersion(Exception):  # noqa: N818  not an error: the entry is left for a newer process
    pass


_version_decoder: Final = msgspec.msgpack.Decoder(_Versioned)


class UsageEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the usage stream, held by this reader until `finish` or `park`."""

    entry_id: bytes
    """Of the stream's entry, in which others may ride."""
    position: int
    """Which of them it is."""
    event: UsageEvent | None
    """None when the bytes are no usage event: park it."""
    raw: bytes
    output: bytes | None
    """The output, wherever it was: inside the event or beside the stream. None when there is none, or it is gone."""


class _Piece(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An event as it was read."""

    entry_id: bytes
    position: int
    raw: bytes
    event: UsageEvent | None


class UsageReader:
    """Reads the usage stream of a pool as one consumer of the ledger's group. For one task at a time.

    `consumer_name` must be unique among living processes. An entry that is read and neither finished nor parked comes
    again, here or elsewhere, once it was idle for `claim_idle_ms`. Events of a newer version are left to newer ledgers.
    """

    def __init__(
        self, redis: Redis, pool: str, consumer_name: str, *, shard: int = 0, claim_idle_ms: int = CLAIM_IDLE_MS
    ) -> None:
        self._link = AsyncLink(redis)
        self._pool = pool
        self._shard = shard
        self._consumer = consumer_name
        self._claim_idle_ms = claim_idle_ms
        self._stream = keys.usage(pool, shard)
        self._group = keys.usage_group()
        self._carried: deque[_Piece] = deque()
        self._left: dict[bytes, set[int]] = {}
        """Which events of an entry are neither finished nor parked: while one is, the entry stays in the stream."""
        self._claim_at = 0.0

    async def read(
        self, *, count_max: int = BATCH_COUNT_MAX, bytes_max: int = BATCH_BYTES_MAX, block_ms: int = 1_000
    ) -> list[UsageEntry]:
        """Return at most `count_max` events, what others abandoned first; empty when none came within `block_ms`.

        Their bytes, outputs included, end at the first entry that passes `bytes_max`. `block_ms` must be shorter than
        the client's socket timeout; 0 does not wait.
        """
        if len(self._carried) < count_max:
            await self._fetch(count_max, bytes_max, block_ms)
        known = list(islice(self._carried, count_max))
        sizes = await self._output_sizes([piece.event for piece in known])
        batch = _within(known, sizes, bytes_max)
        for _ in batch:
            self._carried.popleft()
        return await self._load(batch)

    async def finish(self, entries: Sequence[UsageEntry], wake: bytes = b"") -> None:
        """Say `wake` to who waits, and take settled entries off the wire in one MULTI. Safe to repeat.

        Only a final event (one with an outcome) takes its cast off the wire.
        """
        commands: list[Command] = []
        if wake:
            # First: somebody waits for it, and nobody for the rest.
            commands.append(("PUBLISH", keys.wake_channel(), wake))
        if entries:
            commands += [("MULTI",), *self._removal(entries), *self._closing(entries), ("EXEC",)]
        await self._run(commands)
        self._note_done(entries)

    async def park(self, entry: UsageEntry, reason: str, *, final: bool = False) -> None:
        """Move an entry that cannot be settled to the dead stream. Safe to repeat: it may then lie there twice.

        The cast stays on the wire, for the claim may be forged and the true event on its way; with `final` the caller
        has ended the cast, and it leaves.
        """
        bound = ("MAXLEN", "~", PARKED_MAX)
        dead = ("XADD", keys.usage_dead(self._pool, self._shard), *bound, "*", "e", entry.raw, "r", reason)
        closing = self._closing([entry]) if final else []
        await self._run([("MULTI",), dead, *self._removal([entry]), *closing, ("EXEC",)])
        self._note_done([entry])

    def _removal(self, entries: Sequence[UsageEntry]) -> list[Command]:
        """Return what removes the stream's entries of which nothing is left once these are done."""
        ids = [entry_id for entry_id, done in _positions(entries).items() if self._left.get(entry_id, done) <= done]
        if not ids:
            return []
        # XDEL with XACK, or the stream never shrinks.
        return [("XACK", self._stream, self._group, *ids), ("XDEL", self._stream, *ids)]

    def _note_done(self, entries: Sequence[UsageEntry]) -> None:
        for entry_id, done in _positions(entries).items():
            if left := self._left.pop(entry_id, done) - done:
                self._left[entry_id] = left

    def _closing(self, entries: Sequence[UsageEntry]) -> list[Command]:
        final = [entry.event for entry in entries if entry.event is not None and entry.event.outcome is not None]
        if not final:
            return []
        ids = [event.cast_id.bytes for event in final]
        commands: list[Command] = [
            ("SREM", keys.open_set(self._pool, self._shard), *ids),
            ("SREM", keys.canceled(self._pool, self._shard), *ids),
        ]
        outputs = [keys.output_beside(self._pool, event.cast_id, self._shard) for event in final if event.output_beside]
        if outputs:
            commands.append(("UNLINK", *outputs))
        return commands

    async def _run(self, commands: Sequence[Command]) -> None:
        if not commands:
            return
        for answer in await self._link.run(commands):
            for part in answer if isinstance(answer, list) else [answer]:
                checked(part)

    async def _fetch(self, count_max: int, bytes_max: int, block_ms: int) -> None:
        size_bytes = sum(len(piece.raw) for piece in self._carried)
        now = time.monotonic()
        if now >= self._claim_at:
            claimed = await self._claim(STEP_COUNT_MAX)
            self._claim_at = now if len(claimed) == STEP_COUNT_MAX else now + CLAIM_EVERY_S
            size_bytes += self._carry(claimed)
        while len(self._carried) < count_max and size_bytes < bytes_max:
            found = await self._read_new(STEP_COUNT_MAX, 0 if self._carried else block_ms)
            size_bytes += self._carry(found)
            if len(found) < STEP_COUNT_MAX:
                return

    def _carry(self, found: Iterable[replies.StreamEntry]) -> int:
        """Take the events of these entries, without those of a newer version, and return how many bytes they have."""
        size_bytes = 0
        for entry in found:
            bodies = unbundled(entry.fields or {})
            try:
                events = [_decode(body) for body in bodies]
            except _NewerVersion:
                continue
            self._left[entry.entry_id] = set(range(len(bodies)))
            for position, (raw, event) in enumerate(zip(bodies, events, strict=True)):
                self._carried.append(_Piece(entry_id=entry.entry_id, position=position, raw=raw, event=event))
                size_bytes += len(raw)
        return size_bytes

    async def _claim(self, count: int) -> list[replies.StreamEntry]:
        command = ("XAUTOCLAIM", self._stream, self._group, self._consumer, self._claim_idle_ms, "0-0", "COUNT", count)
        answer = await self._with_group(command)
        if not isinstance(answer, list):
            return []
        rows = answer[1]
        found = [entry for entry in replies.entries(rows) if entry.fields is not None]
        # 6.2 keeps deleted entries pending and answers nil for them; 7 drops them by itself.
        if isinstance(rows, list) and len(rows) > len(found):
            await self._drop_deleted(count)
        return found

    async def _drop_deleted(self, count: int) -> None:
        answer = await self._link.call("XPENDING", self._stream, self._group, "-", "+", count, self._consumer)
        pending = [row.entry_id for row in replies.pending(answer)]
        if not pending:
            return
        rows = await self._link.run([("XRANGE", self._stream, entry_id, entry_id) for entry_id in pending])
        gone = [entry_id for entry_id, row in zip(pending, rows, strict=True) if not checked(row)]
        if gone:
            await self._link.call("XACK", self._stream, self._group, *gone)

    async def _read_new(self, count: int, block_ms: int) -> list[replies.StreamEntry]:
        blocking = ("BLOCK", block_ms) if block_ms else ()
        reading = ("XREADGROUP", "GROUP", self._group, self._consumer, "COUNT", count, *blocking)
        return replies.read_entries(await self._with_group((*reading, "STREAMS", self._stream, ">")))

    async def _with_group(self, command: Command) -> Reply:
        """Run a command of the group, which is made, from the stream's beginning, where it is missing."""
        answer = (await self._link.run([command]))[0]
        if not isinstance(answer, ResponseError) or not str(answer).startswith(("NOGROUP", "UNBLOCKED")):
            return checked(answer)
        made = (await self._link.run([("XGROUP", "CREATE", self._stream, self._group, "0", "MKSTREAM")]))[0]
        if isinstance(made, ResponseError) and not str(made).startswith("BUSYGROUP"):
            raise made
        return await self._link.call(*command)

    async def _output_sizes(self, events: Sequence[UsageEvent | None]) -> dict[UUID, int]:
        beside = [event.cast_id for event in events if event is not None and event.output_beside]
        if not beside:
            return {}
        commands: list[Command] = [("STRLEN", keys.output_beside(self._pool, one, self._shard)) for one in beside]
        answers = await self._link.run(commands)
        return {one: replies.integer(checked(answer)) for one, answer in zip(beside, answers, strict=True)}

    async def _load(self, batch: Sequence[_Piece]) -> list[UsageEntry]:
        beside = [piece.event.cast_id for piece in batch if piece.event is not None and piece.event.output_beside]
        outputs: dict[UUID, bytes] = {}
        if beside:
            names = [keys.output_beside(self._pool, one, self._shard) for one in beside]
            outputs = dict(zip(beside, replies.byte_list(await self._link.call("MGET", *names)), strict=True))
        return [
            UsageEntry(
                entry_id=piece.entry_id,
                position=piece.position,
                event=piece.event,
                raw=piece.raw,
                output=None
                if piece.event is None
                else piece.event.output
                if piece.event.output is not None
                else outputs.get(piece.event.cast_id),
            )
            for piece in batch
        ]


def _positions(entries: Iterable[UsageEntry]) -> dict[bytes, set[int]]:
    positions: dict[bytes, set[int]] = {}
    for entry in entries:
        positions.setdefault(entry.entry_id, set()).add(entry.position)
    return positions


def _decode(body: bytes) -> UsageEvent | None:
    """Return the event, None when it is none; raises _NewerVersion, also when the newer shape does not fit ours."""
    try:
        event = _decoder.decode(body)
        version = event.v
    except (msgspec.DecodeError, UnicodeDecodeError):
        event = None
        version = _version(body)
    if version > MESSAGE_VERSION:
        raise _NewerVersion
    return event


def _version(body: bytes) -> int:
    try:
        return _version_decoder.decode(body).v
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0


def _within(known: Sequence[_Piece], sizes: dict[UUID, int], bytes_max: int) -> list[_Piece]:
    """Return the first events up to `bytes_max`, but at least one."""
    batch: list[_Piece] = []
    size_bytes = 0
    for piece in known:
        size_bytes += len(piece.raw) + (sizes.get(piece.event.cast_id, 0) if piece.event is not None else 0)
        if batch and size_bytes > bytes_max:
            break
        batch.append(piece)
    return batch
