"""Turn a batch of usage events into final, billed casts: check each claim, price it, pass it through the gate."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from domain.flow.close import close
from domain.model.messages import CastJob, Pool, UsageEvent
from domain.model.settlement import OPEN, BadClaimError, Ending, HeldCast, check_claim, check_origin, ending_of
from domain.store import settlement as store
from domain.store.connection import Connection


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each event of a batch: it stands in exactly one of the first five lists, duplicates too."""

    endings: list[Ending]
    """Casts this batch made final: tell who waits for them."""
    started: list[UsageEvent]
    strays: list[UsageEvent]
    """For casts that were final already, and second events for one cast: kept, never charged."""
    parked: list[tuple[UsageEvent, str]]
    """Not believed, with the reason: raise an alarm, move no money."""
    postponed: list[UsageEvent]
    """Their account was held by somebody else (`skip_locked`): leave them unacknowledged and come again."""
    freed: tuple[tuple[Pool, CastJob], ...]


async def settle(
    connection: Connection,
    events: Sequence[UsageEvent],
    *,
    batch_id: UUID,
    token_key: bytes,
    skip_locked: bool = False,
) -> Settled:
    """Settle `events` in the caller's transaction; may be run again with the same events without harm.

    `batch_id` is fresh for each attempt. Limits of budgets are not checked again: they were when the money was held.
    Raises LockTimeoutError, SerializationError (try again), BadRowError (halve the batch, park the culprit).
    """
    # By number: UUIDs are hashed and compared in Python, which for a batch is done thousands of times.
    cast_ids = {event.cast_id.int: event.cast_id for event in events}
    locked, rows, prices = await store.lock_and_read(connection, cast_ids.values(), skip_locked=skip_locked)
    casts = {cast.id.int: cast for cast in rows}
    accounts = {account_id.int for account_id in locked}
    result = Settled(endings=[], started=[], strays=[], parked=[], postponed=[], freed=())
    ending_by_cast: dict[int, Ending] = {}
    for event in events:
        cast = casts.get(event.cast_id.int)
        if cast is None:
            result.parked.append((event, "no such cast"))
            continue
        if cast.account_id.int not in accounts:
            result.postponed.append(event)
            continue
        try:
            check_origin(event, cast, token_key)
            if event.outcome is None:
                result.started.append(event)
            elif cast.status not in OPEN or cast.id.int in ending_by_cast:
                result.strays.append(event)
            else:
                check_claim(event, cast)
                ending_by_cast[cast.id.int] = ending_of(event, cast, prices)
        except BadClaimError as fault:
            result.parked.append((event, str(fault)))
    await _record(connection, result, casts)
    closed = await close(connection, list(ending_by_cast.values()), batch_id=batch_id, token_key=token_key)
    assert len(closed.endings) == len(ending_by_cast), "the account lock keeps every other ender out"
    result.endings.extend(closed.endings)
    return msgspec.structs.replace(result, freed=closed.freed)


async def _record(connection: Connection, result: Settled, casts: dict[int, HeldCast]) -> None:
    starts = {event.cast_id: event.started_ms for event in result.started}
    if starts:
        await store.start(connection, [store.StartRow(id=key, started_ms=started) for key, started in starts.items()])
    if result.strays:
        await store.record_strays(connection, [_stray(event, casts[event.cast_id.int]) for event in result.strays])


def _stray(event: UsageEvent, cast: HeldCast) -> store.StrayRow:
    assert event.outcome is not None
    return store.StrayRow(
        cast_id=cast.id,
        account_id=cast.account_id,
        outcome=event.outcome,
        fuel=event.fuel,
        cpu_us=event.cpu_us,
        wall_us=event.wall_us,
        worker=event.worker,
    )
