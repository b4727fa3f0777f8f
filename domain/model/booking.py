"""What the endings of one batch move: windows, months, grants, counts and ledger transfers, each row once.

Pure sums over endings that passed the gate. Nothing is booked for an ending the gate did not return. Usage events and
counters are not here: the gate's statement makes them of what it returns.
"""

from collections.abc import Sequence
from datetime import date
from hashlib import sha1
from typing import Final, TypeAlias
from uuid import UUID

import msgspec

from domain.model.funding import Funding, spend_parts
from domain.model.ledger import REVENUE, creator_of, credits_of, receivable_of, unbilled_of
from domain.model.messages import Pool
from domain.model.periods import month_of_ms
from domain.model.settlement import Ending, HeldCast

ALLOWANCE: Final = "allowance:platform"

# What makes two amounts of a batch one transfer: kind, debit, credit, account, spell, month, grant. UUIDs are hashed
# and compared in Python, so ids are keys and are sorted by their numbers.
_TransferKey: TypeAlias = tuple[str, str, str, int, int, date, int | None]

# As `str` writes a UUID, in an eighth of the time.
_text: Final = msgspec.to_builtins


class HeldRow(msgspec.Struct, kw_only=True):
    """What a window or grant gives back and what of it was spent."""

    id: UUID
    held: int = 0
    spent: int = 0


class MonthRow(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The same for an account's month and its free allowance."""

    account_id: UUID
    month: date
    held: int = 0
    spent: int = 0
    free_held: int = 0
    free_used: int = 0


class KeyRow(msgspec.Struct, kw_only=True):
    """How many casts a key no longer has open."""

    id: UUID
    casts: int = 0


class AccountRow(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How many casts an account no longer has open, and how many of them were on the wire."""

    id: UUID
    casts: int = 0
    on_wire_default: int = 0
    on_wire_large: int = 0
    told: bool = False
    """Somebody hears of its casts, as they were read."""
    data_days: int = 0
    """How long it keeps their data, as they were read."""


class CreditsRow(msgspec.Struct, kw_only=True):
    """What the casts of an account took of its credits: a line of the history of their balance."""

    account_id: UUID
    micros: int = 0
    casts: int = 0


class TransferRow(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An amount to move from `debit` to `credit`."""

    kind: str
    debit: str
    credit: str
    account_id: UUID
    spell_id: UUID
    month: date
    id: UUID
    batch_id: UUID
    amount_micros: int = 0
    casts: int = 0
    """Casts charged; counted on the platform's share alone."""
    source_id: UUID | None = None
    """On creators' shares: the grant that paid. A metered share has none until an invoice freezes it."""


class Bookings(msgspec.Struct, frozen=True, kw_only=True):
    """All that one batch of endings moves."""

    windows: list[HeldRow]
    months: list[MonthRow]
    grants: list[HeldRow]
    credits: list[CreditsRow]
    keys: list[KeyRow]
    accounts: list[AccountRow]
    transfers: list[TransferRow]


class _Group(msgspec.Struct, kw_only=True):
    """The sums over endings that move the same rows: a batch of hundreds has a handful of groups."""

    cast: HeldCast
    """One of them: the fields of the group's key are those of all."""
    casts: int = 0
    charged: int = 0
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
        windows=_windows(groups),
        months=_months(groups),
        grants=_grants(credited),
        credits=_credits(credited),
        keys=_keys(groups),
        accounts=_accounts(groups),
        transfers=_transfers(groups, credited, batch_id),
    )


def transfers_of(ending: Ending, *, batch_id: UUID) -> list[TransferRow]:
    """Return the share of one ending in the transfers of its batch: their ids are the same, whoever else is in them."""
    return _transfers(_groups([ending]), [ending] if ending.cast.funding is Funding.CREDITS else [], batch_id)


def _row_order(row: HeldRow | KeyRow | AccountRow | TransferRow) -> int:
    return row.id.int


def _groups(endings: Sequence[Ending]) -> list[_Group]:
    groups: dict[tuple[object, ...], _Group] = {}
    for ending in endings:
        cast, charge = ending.cast, ending.charge
        month = month_of_ms(cast.accepted_ms)
        key_id = cast.key_id
        windows = tuple([identifier.int for identifier in cast.window_ids])
        key = (cast.account_id.int, key_id and key_id.int, cast.spell_id.int, month, cast.funding, windows)
        group = groups.get(key)
        if group is None:
            group = groups[key] = _Group(cast=cast)
        group.casts += 1
        group.charged += charge.cost_micros > 0
        group.held += cast.held_micros
        group.cost += charge.cost_micros
        group.platform += charge.platform_micros
        group.on_wire_default += cast.on_wire and cast.pool is Pool.DEFAULT
        group.on_wire_large += cast.on_wire and cast.pool is Pool.LARGE
    return list(groups.values())


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


def _keys(groups: Sequence[_Group]) -> list[KeyRow]:
    rows: dict[int, KeyRow] = {}
    for group in groups:
        if (key_id := group.cast.key_id) is not None:
            rows.setdefault(key_id.int, KeyRow(id=key_id)).casts += group.casts
    return sorted(rows.values(), key=_row_order)


def _accounts(groups: Sequence[_Group]) -> list[AccountRow]:
    rows: dict[int, AccountRow] = {}
    for group in groups:
        cast = group.cast
        row = rows.setdefault(
            cast.account_id.int, AccountRow(id=cast.account_id, told=cast.has_webhooks, data_days=cast.data_days)
        )
        row.casts += group.casts
        row.on_wire_default += group.on_wire_default
        row.on_wire_large += group.on_wire_large
    return sorted(rows.values(), key=_row_order)


def _transfers(groups: Sequence[_Group], credited: Sequence[Ending], batch_id: UUID) -> list[TransferRow]:
    rows: dict[_TransferKey, TransferRow] = {}
    for group in groups:
        if group.cast.funding is Funding.TEST:
            continue  # no money moves
        if group.cast.funding is Funding.CREDITS:
            continue  # each cast names its own grants
        _add_shares(
            rows,
            batch_id,
            group.cast,
            _payer(group.cast),
            None,
            platform=group.platform,
            cost=group.cost,
            casts=group.charged,
        )
    for ending in credited:
        platform_left = ending.charge.platform_micros
        for part in spend_parts(ending.cast.grants, ending.charge.cost_micros):
            to_platform = min(part.micros, platform_left)
            platform_left -= to_platform
            payer = credits_of(ending.cast.account_id)
            grant_id = part.grant_id
            _add_shares(rows, batch_id, ending.cast, payer, grant_id, platform=to_platform, cost=part.micros, casts=1)
    return sorted(rows.values(), key=_row_order)


def _payer(cast: HeldCast) -> str:
    """Return who pays for a cast without credits, by the funding it was accepted with, whatever is billed by now."""
    if cast.funding is Funding.FREE:
        return ALLOWANCE
    return unbilled_of(cast.account_id) if cast.funding is Funding.UNBILLED else receivable_of(cast.account_id)


def _add_shares(
    rows: dict[_TransferKey, TransferRow],
    batch_id: UUID,
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
    shares = [("cast_fee", REVENUE, platform)] if platform else []
    if cost != platform:
        shares.append(("creator_share", creator_of(cast.creator_id), cost - platform))
    for kind, payee, micros in shares:
        account_id, spell_id = cast.account_id, cast.spell_id
        key = (kind, payer, payee, account_id.int, spell_id.int, month, grant_id and grant_id.int)
        row = rows.get(key)
        if row is None:
            share = f"{kind}|{payer}|{payee}|{_text(account_id)}|{_text(spell_id)}|{month.isoformat()}|{grant_id}"
            row = rows[key] = TransferRow(
                kind=kind,
                debit=payer,
                credit=payee,
                account_id=account_id,
                spell_id=spell_id,
                month=month,
                id=_uuid5(batch_id, share),
                batch_id=batch_id,
                source_id=None if kind == "cast_fee" else grant_id,
            )
        row.amount_micros += micros
        row.casts += casts if kind == "cast_fee" else 0


def _uuid5(namespace: UUID, name: str) -> UUID:
    """Return what `uuid.uuid5` does, which imports its hash at each call: half of its time."""
    return UUID(bytes=sha1(namespace.bytes + name.encode(), usedforsecurity=False).digest()[:16], version=5)
