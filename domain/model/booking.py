"""What the endings of one batch move: windows, months, grants, counts, counters and ledger transfers, each row once.

Pure sums over endings that passed the gate. Nothing is booked for an ending the gate did not return.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final, NamedTuple
from uuid import UUID, uuid5

import msgspec

from domain.model.funding import Funding, spend_parts
from domain.model.messages import Pool
from domain.model.periods import day_of_ms, month_of_ms
from domain.model.settlement import Ending, HeldCast, Status

REVENUE: Final = "revenue:platform"
ALLOWANCE: Final = "allowance:platform"


class HeldRow(msgspec.Struct, kw_only=True):
    """What a window or grant gives back and what of it was spent."""

    id: UUID
    held: int = 0
    spent: int = 0


class MonthRow(msgspec.Struct, kw_only=True):
    """The same for an account's month and its free allowance."""

    account_id: UUID
    month: date
    held: int = 0
    spent: int = 0
    free_held: int = 0
    free_used: int = 0


class CountRow(msgspec.Struct, kw_only=True):
    """How many casts an account or a key no longer has open."""

    id: UUID
    casts: int = 0
    on_wire_default: int = 0
    on_wire_large: int = 0


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """The usage event of one cast."""

    id: UUID
    account_id: UUID
    key_id: UUID | None
    spell_id: UUID
    outcome: str
    month: date
    fuel: int | None
    cpu_us: int
    memory_bytes_peak: int
    wall_us: int
    cost_micros: int
    funding: str


class CounterKey(NamedTuple):
    """What a counter counts."""

    account_id: UUID
    dimension: str
    subject_id: UUID
    period: str
    starts_on: date
    funding: str


class CounterRow(msgspec.Struct, kw_only=True):
    """What to add to one counter."""

    account_id: UUID
    dimension: str
    subject_id: UUID
    period: str
    starts_on: date
    funding: str
    casts: int = 0
    failed: int = 0
    fuel: int = 0
    cpu_us: int = 0
    cost_micros: int = 0


class TransferKey(NamedTuple):
    """What makes two amounts of a batch one transfer."""

    kind: str
    debit: str
    credit: str
    account_id: UUID
    spell_id: UUID
    month: date
    grant_id: UUID | None


class TransferRow(msgspec.Struct, kw_only=True):
    """An amount to move from `debit` to `credit`."""

    id: UUID
    batch_id: UUID
    kind: str
    debit: str
    credit: str
    account_id: UUID
    spell_id: UUID
    month: date
    amount_micros: int = 0
    casts: int = 0


class Bookings(msgspec.Struct, frozen=True, kw_only=True):
    """All that one batch of endings moves."""

    usage: list[UsageRow]
    windows: list[HeldRow]
    months: list[MonthRow]
    grants: list[HeldRow]
    keys: list[CountRow]
    accounts: list[CountRow]
    counters: list[CounterRow]
    transfers: list[TransferRow]


def book(endings: Sequence[Ending], *, batch_id: UUID) -> Bookings:
    """Return what `endings` move. `batch_id` must be fresh for each attempt to write them."""
    return Bookings(
        usage=[_usage_row(ending) for ending in endings],
        windows=_windows(endings),
        months=_months(endings),
        grants=_grants(endings),
        keys=_keys(endings),
        accounts=_accounts(endings),
        counters=_counters(endings),
        transfers=_transfers(endings, batch_id),
    )


def _usage_row(ending: Ending) -> UsageRow:
    cast = ending.cast
    return UsageRow(
        id=cast.id,
        account_id=cast.account_id,
        key_id=cast.key_id,
        spell_id=cast.spell_id,
        outcome=ending.outcome,
        month=month_of_ms(cast.accepted_ms),
        fuel=ending.fuel,
        cpu_us=ending.cpu_us,
        memory_bytes_peak=ending.memory_bytes_peak,
        wall_us=ending.wall_us,
        cost_micros=ending.charge.cost_micros,
        funding=cast.funding,
    )


def _windows(endings: Sequence[Ending]) -> list[HeldRow]:
    rows: dict[UUID, HeldRow] = {}
    for ending in endings:
        for identifier in ending.cast.window_ids:
            row = rows.setdefault(identifier, HeldRow(id=identifier))
            row.held += ending.cast.held_micros
            row.spent += ending.charge.cost_micros
    return sorted(rows.values(), key=lambda row: row.id)


def _months(endings: Sequence[Ending]) -> list[MonthRow]:
    rows: dict[tuple[UUID, date], MonthRow] = {}
    for ending in endings:
        cast = ending.cast
        month = month_of_ms(cast.accepted_ms)
        row = rows.setdefault((cast.account_id, month), MonthRow(account_id=cast.account_id, month=month))
        row.held += cast.held_micros
        row.spent += ending.charge.cost_micros
        if cast.funding is Funding.FREE:
            row.free_held += 1
            row.free_used += ending.charge.cost_micros > 0  # what costs nothing uses up nothing
    return sorted(rows.values(), key=lambda row: (row.account_id, row.month))


def _grants(endings: Sequence[Ending]) -> list[HeldRow]:
    rows: dict[UUID, HeldRow] = {}
    for ending in endings:
        parts = ending.cast.grants
        if not parts:
            continue
        for part, paid in zip(parts, spend_parts(parts, ending.charge.cost_micros), strict=True):
            row = rows.setdefault(part.grant_id, HeldRow(id=part.grant_id))
            row.held += part.micros
            row.spent += paid.micros
    return sorted(rows.values(), key=lambda row: row.id)


def _keys(endings: Sequence[Ending]) -> list[CountRow]:
    rows: dict[UUID, CountRow] = {}
    for ending in endings:
        if (key_id := ending.cast.key_id) is not None:
            rows.setdefault(key_id, CountRow(id=key_id)).casts += 1
    return sorted(rows.values(), key=lambda row: row.id)


def _accounts(endings: Sequence[Ending]) -> list[CountRow]:
    rows: dict[UUID, CountRow] = {}
    for ending in endings:
        cast = ending.cast
        row = rows.setdefault(cast.account_id, CountRow(id=cast.account_id))
        row.casts += 1
        row.on_wire_default += cast.on_wire and cast.pool is Pool.DEFAULT
        row.on_wire_large += cast.on_wire and cast.pool is Pool.LARGE
    return sorted(rows.values(), key=lambda row: row.id)


def _counter_keys(cast: HeldCast) -> Iterable[CounterKey]:
    day, month = day_of_ms(cast.accepted_ms), month_of_ms(cast.accepted_ms)
    account_id, funding = cast.account_id, cast.funding.value
    yield CounterKey(account_id, "account", account_id, "day", day, funding)
    yield CounterKey(account_id, "account", account_id, "month", month, funding)
    if cast.key_id is not None:
        yield CounterKey(account_id, "key", cast.key_id, "day", day, funding)
    yield CounterKey(account_id, "account_spell", cast.spell_id, "day", day, funding)
    yield CounterKey(cast.creator_id, "spell", cast.spell_id, "day", day, funding)


def _counters(endings: Sequence[Ending]) -> list[CounterRow]:
    rows: dict[CounterKey, CounterRow] = {}
    for ending in endings:
        failed = ending.status is not Status.SUCCEEDED
        for key in _counter_keys(ending.cast):
            row = rows.get(key)
            if row is None:
                row = rows[key] = CounterRow(**key._asdict())
            row.casts += 1
            row.failed += failed
            row.fuel += ending.fuel or 0
            row.cpu_us += ending.cpu_us
            row.cost_micros += ending.charge.cost_micros
    return [rows[key] for key in sorted(rows)]


def _payers(ending: Ending) -> list[tuple[str, UUID | None, int]]:
    """Return who pays how much of one ending: (ledger account, grant, micros)."""
    cast, cost = ending.cast, ending.charge.cost_micros
    match cast.funding:
        case Funding.FREE:
            return [(ALLOWANCE, None, cost)]
        case Funding.METERED:
            return [(f"receivable:{cast.account_id}", None, cost)]
        case Funding.CREDITS:
            paid = spend_parts(cast.grants, cost)
            return [(f"credits:{cast.account_id}", part.grant_id, part.micros) for part in paid]


def _transfers(endings: Sequence[Ending], batch_id: UUID) -> list[TransferRow]:
    rows: dict[TransferKey, TransferRow] = {}
    for ending in endings:
        cast, charge = ending.cast, ending.charge
        month = month_of_ms(cast.accepted_ms)
        platform_left = charge.platform_micros
        for debit, grant_id, paid in _payers(ending):
            to_platform = min(paid, platform_left)
            platform_left -= to_platform
            shares = (
                ("cast_fee", REVENUE, to_platform),
                ("creator_share", f"creator:{cast.creator_id}", paid - to_platform),
            )
            for kind, credit, micros in shares:
                if micros == 0:
                    continue
                key = TransferKey(kind, debit, credit, cast.account_id, cast.spell_id, month, grant_id)
                row = rows.get(key)
                if row is None:
                    row = rows[key] = _transfer_row(key, batch_id)
                row.amount_micros += micros
                row.casts += kind == "cast_fee"
    return sorted(rows.values(), key=lambda row: row.id)


def _transfer_row(key: TransferKey, batch_id: UUID) -> TransferRow:
    name = "|".join(map(str, key))
    return TransferRow(
        id=uuid5(batch_id, name),
        batch_id=batch_id,
        kind=key.kind,
        debit=key.debit,
        credit=key.credit,
        account_id=key.account_id,
        spell_id=key.spell_id,
        month=key.month,
    )
