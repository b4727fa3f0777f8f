"""Turn a batch of usage events into final, billed casts: check each claim, price it, pass it through the gate."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

import msgspec

from domain.flow.close import close
from domain.model.booking import book
from domain.model.events import cast_events
from domain.model.messages import CastJob, Pool, UsageEvent
from domain.model.pricing import Price
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
    locked, rows, prices = await store.lock_and_read(connection, _ids(events).values(), skip_locked=skip_locked)
    casts = {cast.id.int: cast for cast in rows}
    result, endings = _judge(events, casts, {account_id.int for account_id in locked}, prices, token_key)
    await _record(connection, result, casts)
    closed = await close(connection, endings, batch_id=batch_id, token_key=token_key)
    assert len(closed.endings) == len(endings), "the account lock keeps every other ender out"
    return msgspec.structs.replace(result, endings=list(closed.endings), freed=closed.freed)


async def settle_as_read(
    connection: Connection, events: Sequence[UsageEvent], *, batch_id: UUID, token_key: bytes
) -> Settled:
    """Do what `settle` does, in a brief transaction, whose COMMIT locks, ends and books what was judged before it.

    So the accounts are held for what Postgres does about them alone. What may have changed until then is compared under
    the locks, and SerializationError is raised where something has: `settle` is for that. Raises what it does, too.
    """
    assert connection.is_brief, "what is judged before the locks leaves with the COMMIT"
    rows, prices = await store.read(connection, list(_ids(events).values()))
    casts = {cast.id.int: cast for cast in rows}
    result, endings = _judge(events, casts, {cast.account_id.int for cast in rows}, prices, token_key)
    if any(ending.cast.account_waits for ending in endings):
        return await settle(connection, events, batch_id=batch_id, token_key=token_key)
    if touched := [casts[event.cast_id.int] for event in result.started] + [ending.cast for ending in endings]:
        await store.lock_read(connection, touched)
    await _record(connection, result, casts)
    if endings:
        booked = book(endings, batch_id=batch_id)
        await store.end_as_read(connection, endings, booked, cast_events(endings), batch_id=batch_id)
    return msgspec.structs.replace(result, endings=endings)


def _ids(events: Sequence[UsageEvent]) -> dict[int, UUID]:
    """Return the casts of events, each once. By number: UUIDs are hashed and compared in Python."""
    return {event.cast_id.int: event.cast_id for event in events}


def _judge(
    events: Sequence[UsageEvent],
    casts: Mapping[int, HeldCast],
    accounts: Collection[int],
    prices: Mapping[int, Price],
    token_key: bytes,
) -> tuple[Settled, list[Ending]]:
    """Return what becomes of each event, but for the endings, which are to pass the gate; `accounts` are locked."""
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
    return result, list(ending_by_cast.values())


async def _record(connection: Connection, result: Settled, casts: Mapping[int, HeldCast]) -> None:
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
