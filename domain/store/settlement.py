"""The statements of the gate and of everything that is booked behind it, and of the wire as Postgres knows it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.pq.abc import PGresult

from domain.model.admission import ON_WIRE_PER_ACCOUNT_MAX
from domain.model.booking import Bookings, TransferRow
from domain.model.events import Event, ReachedWindow
from domain.model.limits import CastLimits
from domain.model.messages import Pool
from domain.model.pricing import Price
from domain.model.settlement import Ending, HeldCast
from domain.store import events as event_store
from domain.store.columns import bigints, byte_strings, columns_of, texts, written_in_columns
from domain.store.columns import uuids as uuids_of
from domain.store.connection import Connection
from domain.store.exchange import Sent, Value, exchange, json_of, later, uuids, value
from domain.store.queries import behind_gate, load, together

_QUERIES: Final = load(__file__)
_decode_casts: Final = msgspec.json.Decoder(list[HeldCast]).decode
_decode_prices: Final = msgspec.json.Decoder(list[Price]).decode
_NO_ID: Final = UUID(int=0)
_number: Final = attrgetter("int")
# What was decided before the locks and may have to be decided again under them.
_UNLIKE: Final = {"windows_settle_untold": b"reached", "accounts_close": b"waits OR unheard OR kept_otherwise"}
_READ: Final = b"SELECT (%s), (%s)" % (_QUERIES["casts_read"], _QUERIES["prices_read"])


class StartRow(msgspec.Struct, frozen=True, kw_only=True):
    """A cast that has begun."""

    id: UUID
    started_ms: int


class StrayRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event for a cast that was already final."""

    cast_id: UUID
    account_id: UUID
    outcome: str
    fuel: int | None
    cpu_us: int
    wall_us: int
    worker: str


class WireRow(msgspec.Struct, frozen=True, kw_only=True):
    """How many casts of an account go on the wire now."""

    id: UUID
    on_wire_default: int
    on_wire_large: int


class WireCast(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a worker needs of a cast that goes on the wire; the token is made by the flow."""

    cast_id: UUID
    account_id: UUID
    pool: Pool
    digest: bytes
    limits: CastLimits
    input: bytes
    accepted_ms: int
    deadline_ms: int
    traceparent: str | None


class _SettledWindow(msgspec.Struct, frozen=True):
    reached: ReachedWindow | None
    """Set where its spending passed a share of the soft limit that was not told yet."""


class _ClosedAccount(msgspec.Struct, frozen=True):
    id: UUID
    waits: bool


class _Written(msgspec.Struct, frozen=True):
    """What the settling statements return, by their names."""

    windows_settle: list[_SettledWindow] = []
    accounts_close: list[_ClosedAccount] = []


_TOLD: Final = _Written.__struct_fields__
_decode_written: Final = msgspec.json.Decoder(_Written).decode


async def lock_and_read(
    connection: Connection, cast_ids: Collection[UUID], *, skip_locked: bool = False
) -> tuple[set[UUID], list[HeldCast], dict[int, Price]]:
    """Lock the accounts of these casts, then read the casts and the price book; unknown ids are left out."""
    lock = _QUERIES["accounts_lock_free" if skip_locked else "accounts_lock"]
    parameters = _within(cast_ids)
    locked, found = await exchange(connection, (lock, parameters), (_READ, parameters))
    return (set(uuids(locked)), *_casts_of(found))


async def read(connection: Connection, cast_ids: Sequence[UUID]) -> tuple[list[HeldCast], dict[int, Price]]:
    """Read the casts and the price book without a lock: for what only looks."""
    (found,) = await exchange(connection, (_READ, _within(cast_ids)))
    return _casts_of(found)


async def book_transfers(connection: Connection, rows: Sequence[TransferRow]) -> None:
    """Book money beside a batch of endings; an id that is there already is an error."""
    if rows:
        await later(connection, (_QUERIES["transfers_insert"], columns_of(rows)))


async def lock_read(connection: Connection, casts: Collection[HeldCast]) -> None:
    """Lock the accounts of casts that were read before, in front of what is done `later` in a brief transaction."""
    account_ids = {cast.account_id.int: cast.account_id for cast in casts}
    await later(connection, (_QUERIES["accounts_lock_named"], {"account_ids": list(account_ids.values())}))


async def start(connection: Connection, rows: Sequence[StartRow]) -> None:
    """Mark those of these casts as running that are queued."""
    parameters = {"rows": json_of(rows), **_range([row.id for row in rows])}
    await later(connection, (_QUERIES["casts_start"], parameters))


async def end(connection: Connection, endings: Sequence[Ending], *, batch_id: UUID) -> set[int]:
    """Pass `endings` through the gate; return the numbers of the casts that were open and are final now.

    Those have their usage event then, and their counters are raised.
    """
    (ended,) = await exchange(connection, (_QUERIES["casts_end"], _ends(endings, batch_id, "rows")))
    # As they came: a UUID made of each costs as much as everything else that Python does about the gate.
    return {int.from_bytes(ended.get_value(at, 0) or b"", "big") for at in range(ended.ntuples)}


async def record_strays(connection: Connection, rows: Sequence[StrayRow]) -> None:
    """Keep events that came too late."""
    await later(connection, (_QUERIES["strays_insert"], {"rows": json_of(rows)}))


async def write(
    connection: Connection, bookings: Bookings, events: Sequence[Event]
) -> tuple[list[UUID], list[ReachedWindow]]:
    """Write everything `bookings` holds, and a row for each who is to be told of `events`.

    Returns the accounts that still have casts waiting for the wire, and the windows whose spending passed a share of
    the soft limit that was not told yet; it counts as told now.
    Asserts that every window, month and grant was there: a hold names only rows that exist.
    """
    settled = _settled(bookings)
    whole = together({name: _QUERIES[name] for name in settled}, told=_TOLD)
    behind = [(_QUERIES["transfers_insert"], columns_of(bookings.transfers))] if bookings.transfers else []
    answer, *_ = await exchange(connection, (whole, written_in_columns(settled)), *behind, *_behind(bookings, events))
    found = _decode_written(value(answer))
    waiting = [account.id for account in found.accounts_close if account.waits]
    return waiting, [window.reached for window in found.windows_settle if window.reached is not None]


async def end_as_read(
    connection: Connection, endings: Sequence[Ending], bookings: Bookings, events: Sequence[Event], *, batch_id: UUID
) -> None:
    """Do what `end` and `write` do, with the COMMIT of a brief transaction; of casts read before `lock_read`.

    It is a serialization failure, and nothing happened, when they are not so any more: one has ended, a new budget
    counts one, their account keeps data otherwise, or their end has consequences (a soft limit is passed, a cast waits
    for the place, an account is heard).
    """
    booked = _settled(bookings, windows="windows_settle_untold")
    if bookings.transfers:
        booked["transfers_insert"] = bookings.transfers
    whole = behind_gate(_QUERIES["casts_end"], "casts_end", {name: _QUERIES[name] for name in booked}, unlike=_UNLIKE)
    gate = _ends(endings, batch_id, "casts_end")
    sent = {**gate, "casts_end_rows": len(endings), **written_in_columns(booked)}
    await later(connection, (whole, sent), *_behind(bookings, events))


def _settled(bookings: Bookings, *, windows: str = "windows_settle") -> dict[str, Sequence[msgspec.Struct]]:
    """Return the rows of each query that gives back and counts what was held, where there are some."""
    rows: dict[str, Sequence[msgspec.Struct]] = {
        windows: bookings.windows,
        "months_settle": bookings.months,
        "grants_settle": bookings.grants,
        "keys_close": bookings.keys,
        "accounts_close": bookings.accounts,
    }
    return {name: some for name, some in rows.items() if some}


def _behind(bookings: Bookings, events: Sequence[Event]) -> list[Sent]:
    """Return what comes behind, for it reads what was settled: the history of credits, events."""
    behind: list[Sent] = []
    if bookings.credits:
        spent = {"rows": json_of(bookings.credits), "batch_id": bookings.transfers[0].batch_id}
        behind.append((_QUERIES["credits_spent_insert"], spent))
    return [*behind, *event_store.inserts(events)]


async def name_next(connection: Connection, account_ids: Sequence[UUID]) -> list[WireCast]:
    """Give free places on the wire to the oldest waiting casts of these accounts; the caller has locked them."""
    parameters = {"account_ids": list(account_ids), "on_wire_max": ON_WIRE_PER_ACCOUNT_MAX}
    cursor = await connection.execute(_QUERIES["casts_name_next"], parameters, binary=True)
    casts = sorted((_wire_cast(row) for row in await cursor.fetchall()), key=lambda cast: cast.cast_id)
    if casts:
        rows = json_of([_wire_row(casts, account_id) for account_id in account_ids])
        await later(connection, (_QUERIES["accounts_wire"], {"rows": rows}))
    return casts


async def jobs(connection: Connection, cast_ids: Sequence[UUID]) -> list[WireCast]:
    """Return what workers need of those of these casts that are open."""
    cursor = await connection.execute(_QUERIES["casts_jobs"], _within(cast_ids), binary=True)
    return [_wire_cast(row) for row in await cursor.fetchall()]


async def meant_for_wire(
    connection: Connection, pool: Pool, *, after: UUID, before: UUID, limit: int
) -> list[tuple[UUID, bool]]:
    """Return open casts of the pool that should be on the wire, with after < id < before, in order of id.

    Each comes with whether somebody asked to stop it.
    """
    parameters = {"pool": pool.value, "after": after, "before": before, "limit": limit}
    cursor = await connection.execute(_QUERIES["casts_meant_for_wire"], parameters, binary=True)
    return [(cast_id, cancel_requested) for cast_id, cancel_requested in await cursor.fetchall()]


async def overdue(connection: Connection, *, before: datetime, limit: int) -> list[UUID]:
    """Return open casts whose deadline was before the given moment, the oldest first."""
    return await _ids(connection, "casts_overdue", {"before": before, "limit": limit})


async def lock_account(connection: Connection, account_id: UUID) -> None:
    """Take the mutex of one account."""
    await connection.execute(_QUERIES["account_lock"], {"account_id": account_id})


async def of_account(connection: Connection, account_id: UUID, cast_ids: Sequence[UUID]) -> list[UUID]:
    """Return which of these casts belong to the account."""
    return await _ids(connection, "casts_of_account", {"account_id": account_id, **_within(cast_ids)})


async def request_cancel(connection: Connection, cast_ids: Sequence[UUID]) -> None:
    """Write down that these casts should stop."""
    await connection.execute(_QUERIES["casts_cancel_request"], _within(cast_ids))


def _casts_of(read: PGresult) -> tuple[list[HeldCast], dict[int, Price]]:
    return _decode_casts(value(read)), {price.version: price for price in _decode_prices(value(read, 1))}


async def _ids(connection: Connection, query: str, parameters: Mapping[str, object]) -> list[UUID]:
    cursor = await connection.execute(_QUERIES[query], parameters, binary=True)
    return [row[0] for row in await cursor.fetchall()]


def _within(cast_ids: Collection[UUID]) -> dict[str, Value]:
    return {"cast_ids": list(cast_ids), **_range(cast_ids)}


def _range(cast_ids: Collection[UUID]) -> dict[str, UUID]:
    """Return between which ids these are: by that a plan made beforehand leaves out the other months."""
    ids = cast_ids or (_NO_ID,)
    return {"first_id": min(ids, key=_number), "last_id": max(ids, key=_number)}


def _ends(endings: Sequence[Ending], batch_id: UUID, name: str) -> dict[str, Value]:
    """Return what `casts_end` is sent with; its rows are called `name`."""
    ids = [ending.cast.id for ending in endings]
    columns = {
        "id": uuids_of(ids),
        "status": texts([ending.status for ending in endings]),
        "error_code": texts([ending.error_code for ending in endings]),
        "error_message": texts([ending.message for ending in endings]),
        "exit_code": bigints([ending.exit_code for ending in endings]),
        "fuel": bigints([ending.fuel for ending in endings]),
        "cpu_us": bigints([ending.cpu_us for ending in endings]),
        "memory_bytes_peak": bigints([ending.memory_bytes_peak for ending in endings]),
        "wall_us": bigints([ending.wall_us for ending in endings]),
        "attempts": bigints([ending.attempts for ending in endings]),
        "cost_micros": bigints([ending.charge.cost_micros for ending in endings]),
        "started_ms": bigints([ending.started_ms for ending in endings]),
        "finished_ms": bigints([ending.finished_ms for ending in endings]),
        "units": bigints([ending.units for ending in endings]),
        "windows": bigints([len(ending.cast.window_ids) for ending in endings]),
        "data_days": bigints([ending.cast.data_days for ending in endings]),
        "output": byte_strings([ending.output for ending in endings]),
        "log": byte_strings([ending.log for ending in endings]),
    }
    rows = {f"{name}.{column}": values for column, values in columns.items()}
    return {**rows, **_range(ids), "batch_id": batch_id}


def _wire_cast(row: tuple[Any, ...]) -> WireCast:
    cast_id, account_id, pool, digest, fuel, wall_ms, memory, output, log, text, accepted, deadline, trace = row
    return WireCast(
        cast_id=cast_id,
        account_id=account_id,
        pool=Pool(pool),
        digest=digest,
        limits=CastLimits(fuel=fuel, wall_ms=wall_ms, memory_bytes=memory, output_bytes=output, log_bytes=log),
        input=text or b"",
        accepted_ms=accepted,
        deadline_ms=deadline,
        traceparent=trace,
    )


def _wire_row(casts: Collection[WireCast], account_id: UUID) -> WireRow:
    pools = [cast.pool for cast in casts if cast.account_id == account_id]
    return WireRow(id=account_id, on_wire_default=pools.count(Pool.DEFAULT), on_wire_large=pools.count(Pool.LARGE))
