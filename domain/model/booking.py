"""What the endings of one batch move: windows, months, grants, counts, counters and ledger transfers, each row once.

Pure sums over endings that passed the gate. Nothing is booked for an ending the gate did not return.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final, NamedTuple
from uuid import UUID, uuid5

import msgspec

from domain.model.funding import Funding, spend_parts
from domain.model.ledger import REVENUE
from domain.model.messages import Outcome, Pool
from domain.model.periods import day_of_ms, month_of_ms
from domain.model.settlement import Ending, HeldCast

ALLOWANCE: Final = "allowance:platform"
_UNSET: Final = UUID(int=0)


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


class UsageRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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
    batch_id: UUID
    """In which the cast was booked: with it the transfers that hold its money can be named."""


class CreditsRow(msgspec.Struct, kw_only=True):
    """What the casts of an account took of its credits: a line of the history of their balance."""

    account_id: UUID
    micros: int = 0
    casts: int = 0


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

    kind: str
    debit: str
    credit: str
    account_id: UUID
    spell_id: UUID
    month: date
    id: UUID = _UNSET
    batch_id: UUID = _UNSET
    amount_micros: int = 0
    casts: int = 0
    """Casts charged; counted on the platform's share alone."""


class Bookings(msgspec.Struct, frozen=True, kw_only=True):
    """All that one batch of endings moves."""

    usage: list[UsageRow]
    windows: list[HeldRow]
    months: list[MonthRow]
    grants: list[HeldRow]
    credits: list[CreditsRow]
    keys: list[CountRow]
    accounts: list[CountRow]
    counters: list[CounterRow]
    transfers: list[TransferRow]


class _Group(msgspec.Struct, kw_only=True):
    """The sums over endings that move the same rows: a batch of hundreds has a handful of groups."""

    cast: HeldCast
    """One of them: the fields of the group's key are those of all."""
    casts: int = 0
    failed: int = 0
    charged: int = 0
    fuel: int = 0
    cpu_us: int = 0
    held: int = 0
    cost: int = 0
    platform: int = 0
    on_wire_default: int = 0
    on_wire_large: int = 0


def book(endings: Sequence[Ending], *, batch_id: UUID) -> Bookings:
    """Return what `endings` move. `batch_id` must be fresh for each attempt to write them."""
    groups = _groups(endings)
    credited = [ending for ending in endings if ending.cast.funding is Funding.CREDITS]
    return Bookings(
        usage=[_usage_row(ending, batch_id) for ending in endings],
        windows=_windows(groups),
        months=_months(groups),
        grants=_grants(credited),
        credits=_credits(credited),
        keys=_keys(groups),
        accounts=_accounts(groups),
        counters=_counters(groups),
        transfers=_transfers(groups, credited, batch_id),
    )


def transfers_of(ending: Ending, *, batch_id: UUID) -> list[TransferRow]:
    """Return the share of one ending in the transfers of its batch: their ids are the same, whoever else is in them."""
    return _transfers(_groups([ending]), [ending] if ending.cast.funding is Funding.CREDITS else [], batch_id)


def _row_order(row: HeldRow | CountRow | TransferRow) -> int:
    return row.id.int  # see `_counters`


def _groups(endings: Sequence[Ending]) -> list[_Group]:
    groups: dict[tuple[object, ...], _Group] = {}
    for ending in endings:
        cast, charge = ending.cast, ending.charge
        day = day_of_ms(cast.accepted_ms)
        key_id = cast.key_id
        windows = tuple([identifier.int for identifier in cast.window_ids])
        key = (cast.account_id.int, key_id and key_id.int, cast.spell_id.int, day, cast.funding, windows)
        group = groups.get(key)
        if group is None:
            group = groups[key] = _Group(cast=cast)
        group.casts += 1
        group.failed += ending.outcome is not Outcome.SUCCEEDED
        group.charged += charge.cost_micros > 0
        group.fuel += ending.fuel or 0
        group.cpu_us += ending.cpu_us
        group.held += cast.held_micros
        group.cost += charge.cost_micros
        group.platform += charge.platform_micros
        group.on_wire_default += cast.on_wire and cast.pool is Pool.DEFAULT
        group.on_wire_large += cast.on_wire and cast.pool is Pool.LARGE
    return list(groups.values())


def _usage_row(ending: Ending, batch_id: UUID) -> UsageRow:
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
        batch_id=batch_id,
    )


def _windows(groups: Sequence[_Group]) -> list[HeldRow]:
    rows: dict[int, HeldRow] = {}
    for group in groups:
        for identifier in group.cast.window_ids:
            row = rows.setdefault(identifier.int, HeldRow(id=identifier))
            row.held += group.held
            row.spent += group.cost
    return sorted(rows.values(), key=_row_order)


def _months(groups: Sequence[_Group]) -> list[MonthRow]:
    rows: dict[tuple[int, date], MonthRow] = {}
    for group in groups:
        account_id, month = group.cast.account_id, month_of_ms(group.cast.accepted_ms)
        row = rows.setdefault((account_id.int, month), MonthRow(account_id=account_id, month=month))
        row.held += group.held
        row.spent += group.cost
        if group.cast.funding is Funding.FREE:
            row.free_held += group.casts
            row.free_used += group.charged  # what costs nothing uses up nothing
    return sorted(rows.values(), key=lambda row: (row.account_id.int, row.month))


def _grants(credited: Sequence[Ending]) -> list[HeldRow]:
    rows: dict[UUID, HeldRow] = {}
    for ending in credited:
        parts = ending.cast.grants
        for part, paid in zip(parts, spend_parts(parts, ending.charge.cost_micros), strict=True):
            row = rows.setdefault(part.grant_id, HeldRow(id=part.grant_id))
            row.held += part.micros
            row.spent += paid.micros
    return sorted(rows.values(), key=_row_order)


def _credits(credited: Sequence[Ending]) -> list[CreditsRow]:
    rows: dict[UUID, CreditsRow] = {}
    for ending in credited:
        if ending.charge.cost_micros > 0:
            row = rows.setdefault(ending.cast.account_id, CreditsRow(account_id=ending.cast.account_id))
            row.micros += ending.charge.cost_micros
            row.casts += 1
    return list(rows.values())


def _keys(groups: Sequence[_Group]) -> list[CountRow]:
    rows: dict[int, CountRow] = {}
    for group in groups:
        if (key_id := group.cast.key_id) is not None:
            rows.setdefault(key_id.int, CountRow(id=key_id)).casts += group.casts
    return sorted(rows.values(), key=_row_order)


def _accounts(groups: Sequence[_Group]) -> list[CountRow]:
    rows: dict[int, CountRow] = {}
    for group in groups:
        row = rows.setdefault(group.cast.account_id.int, CountRow(id=group.cast.account_id))
        row.casts += group.casts
        row.on_wire_default += group.on_wire_default
        row.on_wire_large += group.on_wire_large
    return sorted(rows.values(), key=_row_order)


def _counter_keys(cast: HeldCast) -> Iterable[tuple[UUID, str, UUID, str, date]]:
    """Return what the counters of a cast count: whose, which dimension, of what, per what, from when."""
    day, month = day_of_ms(cast.accepted_ms), month_of_ms(cast.accepted_ms)
    account_id = cast.account_id
    yield account_id, "account", account_id, "day", day
    yield account_id, "account", account_id, "month", month
    if cast.key_id is not None:
        yield account_id, "key", cast.key_id, "day", day
    yield account_id, "account_spell", cast.spell_id, "day", day
    yield cast.creator_id, "spell", cast.spell_id, "day", day


def _counters(groups: Sequence[_Group]) -> list[CounterRow]:
    rows: dict[tuple[int, str, int, str, date, str], CounterRow] = {}
    for group in groups:
        funding = group.cast.funding.value
        for account_id, dimension, subject_id, period, starts_on in _counter_keys(group.cast):
            # UUIDs are hashed and compared in Python, numbers are not.
            key = (account_id.int, dimension, subject_id.int, period, starts_on, funding)
            row = rows.get(key)
            if row is None:
                row = rows[key] = CounterRow(
                    account_id=account_id,
                    dimension=dimension,
                    subject_id=subject_id,
                    period=period,
                    starts_on=starts_on,
                    funding=funding,
                )
            row.casts += group.casts
            row.failed += group.failed
            row.fuel += group.fuel
            row.cpu_us += group.cpu_us
            row.cost_micros += group.cost
    return [rows[key] for key in sorted(rows)]


def _transfers(groups: Sequence[_Group], credited: Sequence[Ending], batch_id: UUID) -> list[TransferRow]:
    rows: dict[TransferKey, TransferRow] = {}
    for group in groups:
        if group.cast.funding is Funding.TEST:
            continue  # no money moves
        if group.cast.funding is Funding.CREDITS:
            continue  # each cast names its own grants
        payer = ALLOWANCE if group.cast.funding is Funding.FREE else f"receivable:{group.cast.account_id}"
        _add_shares(rows, group.cast, payer, None, platform=group.platform, cost=group.cost, casts=group.charged)
    for ending in credited:
        platform_left = ending.charge.platform_micros
        for part in spend_parts(ending.cast.grants, ending.charge.cost_micros):
            to_platform = min(part.micros, platform_left)
            platform_left -= to_platform
            payer = f"credits:{ending.cast.account_id}"
            _add_shares(rows, ending.cast, payer, part.grant_id, platform=to_platform, cost=part.micros, casts=1)
    for key, row in rows.items():
        row.id, row.batch_id = uuid5(batch_id, "|".join(map(str, key))), batch_id
    return sorted(rows.values(), key=_row_order)


def _add_shares(
    rows: dict[TransferKey, TransferRow],
    cast: HeldCast,
    payer: str,
    grant_id: UUID | None,
    *,
    platform: int,
    cost: int,
    casts: int,
) -> None:
    """Add what `payer` owes the platform and the creator for casts like `cast`."""
    month = month_of_ms(cast.accepted_ms)
    shares = (("cast_fee", REVENUE, platform), ("creator_share", f"creator:{cast.creator_id}", cost - platform))
    for kind, payee, micros in shares:
        if micros == 0:
            continue
        key = TransferKey(kind, payer, payee, cast.account_id, cast.spell_id, month, grant_id)
        row = rows.get(key)
        if row is None:
            row = rows[key] = TransferRow(
                kind=kind, debit=payer, credit=payee, account_id=cast.account_id, spell_id=cast.spell_id, month=month
            )
        row.amount_micros += micros
        row.casts += casts if kind == "cast_fee" else 0
