"""A receipt: what a cast held, what of it was charged for what, what went back and why. Made anew from rows, for ever.

It says the same each time it is made, until there is a refund; the edge signs exactly these bytes.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

from domain.model.booking import TransferRow, transfers_of
from domain.model.creator_price import CreatorPrice
from domain.model.funding import Funding
from domain.model.limits import KIB
from domain.model.messages import Outcome
from domain.model.modes import Mode, mode_of_funding
from domain.model.pricing import NOTHING, Charge, Due, Price, charge, due_for, fuel_micros
from domain.model.settlement import Ending, HeldCast

RECEIPT_VERSION: Final = 1
# The kind of text that is signed, in the header of its signature.
RECEIPT_TYP: Final = "spell-receipt+jws"


class ReceiptRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the database says of an ended cast, beside its terms."""

    cast_id: UUID
    account_id: UUID
    account: str
    key: str | None
    spell: str
    version: str
    digest: bytes
    unit: str | None
    status: str
    outcome: str
    accepted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    settled_at: datetime | None
    batch_id: UUID | None
    quote_id: UUID | None
    fuel: int | None
    output_bytes: int | None
    units: int | None
    cost_micros: int | None
    refund_micros: int | None
    refund_reason: str | None
    refunded_at: datetime | None
    engine_key: str | None


class CreatorRates(msgspec.Struct, frozen=True, kw_only=True):
    """What the creator asked."""

    per_cast_micros: int
    per_output_kib_micros: int
    per_unit_micros: int
    unit: str | None
    units_max: int


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """The terms the cast was accepted under; nothing changed them after."""

    price_version: int
    per_cast_micros: int
    per_gfuel_micros: int
    platform_share_percent: int
    creator: CreatorRates
    quote_id: UUID | None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the price: `quantity` at `rate_micros`. Uncharged ones are what this ending did not owe."""

    what: Literal["fee", "fuel", "creator", "output_kib", "units"]
    quantity: int | None
    """None: nobody knows, because the sandbox was killed."""
    rate_micros: int
    """Of one; of 10^9 for fuel."""
    amount_micros: int
    charged: bool


class HoldFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The hold: captured and released are all of it."""

    held_micros: int
    captured_micros: int
    released_micros: int
    waived_micros: int
    """What was used and is not charged, by how the cast ended."""
    pays_for: Due
    reason: str


class TransferFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A transfer of the ledger that holds this cast's share, perhaps among others of its batch."""

    id: UUID
    kind: str
    debit: str
    credit: str
    amount_micros: int
    """Of this cast."""


class LedgerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Where the money was booked."""

    batch_id: UUID | None
    transfers: tuple[TransferFacts, ...]


class GrantFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Credits that were held, and spent."""

    grant_id: UUID
    held_micros: int


class RefundFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator paid back."""

    amount_micros: int
    reason: str
    refunded_at: datetime
    transfers: tuple[TransferFacts, ...]


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What the cast did, as far as it is paid by it."""

    fuel: int | None
    output_bytes: int
    units: int


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """All that is signed."""

    v: int
    issuer: str
    cast_id: UUID
    account_id: UUID
    account: str
    key: str | None
    mode: Mode
    """`test`: a test key made it; `waived_micros` is what a live key would have paid."""
    spell: str
    version: str
    digest: str
    engine_key: str | None
    """Of the newest compiled form of the module when the cast ended."""
    status: str
    outcome: str
    accepted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    settled_at: datetime | None
    currency: str
    rates: Rates
    used: Used
    lines: tuple[Line, ...]
    hold: HoldFacts
    platform_micros: int
    creator_micros: int
    funding: str
    grants: tuple[GrantFacts, ...]
    ledger: LedgerFacts
    refund: RefundFacts | None


def receipt_of(
    row: ReceiptRow, cast: HeldCast, price: Price, refund_transfers: Sequence[TransferRow], *, issuer: str
) -> Receipt:
    """Return the receipt of an ended cast. Asserts that its parts add up to what was charged."""
    assert row.cost_micros is not None, "it has ended"
    outcome = Outcome(row.outcome)
    used = Used(fuel=row.fuel, output_bytes=row.output_bytes or 0, units=row.units or 0)
    charged = charge_of(row, cast, price)
    is_test = cast.funding is Funding.TEST
    is_free = is_test or (outcome is Outcome.CANCELED and row.started_at is None)
    pays_for = Due.NOTHING if is_free else due_for(outcome)
    lines = _lines(price, cast.creator_price, used, pays_for)
    captured = sum(line.amount_micros for line in lines if line.charged)
    assert captured == charged.cost_micros == row.cost_micros, "a receipt says what was charged"
    return Receipt(
        v=RECEIPT_VERSION,
        issuer=issuer,
        cast_id=row.cast_id,
        account_id=row.account_id,
        account=row.account,
        key=row.key,
        mode=mode_of_funding(cast.funding),
        spell=row.spell,
        version=row.version,
        digest=f"sha256:{row.digest.hex()}",
        engine_key=row.engine_key,
        status=row.status,
        outcome=row.outcome,
        accepted_at=row.accepted_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        settled_at=row.settled_at,
        currency="usd",
        rates=_rates(price, cast.creator_price, row),
        used=used,
        lines=lines,
        hold=HoldFacts(
            held_micros=cast.held_micros,
            captured_micros=captured,
            released_micros=cast.held_micros - captured,
            waived_micros=sum(line.amount_micros for line in lines if not line.charged),
            pays_for=pays_for,
            reason=_REASON_OF_TESTS if is_test else _REASONS[pays_for],
        ),
        platform_micros=charged.platform_micros,
        creator_micros=charged.creator_micros,
        funding=cast.funding,
        grants=tuple(GrantFacts(grant_id=part.grant_id, held_micros=part.micros) for part in cast.grants),
        ledger=_ledger(cast, charged, row.batch_id),
        refund=_refund(row, refund_transfers),
    )


def charge_of(row: ReceiptRow, cast: HeldCast, price: Price) -> Charge:
    """Return what the cast was charged, and who got it, by the rule that charged it."""
    if cast.funding is Funding.TEST:
        return NOTHING
    return charge(
        price,
        cast.creator_price,
        held_micros=cast.held_micros,
        outcome=Outcome(row.outcome),
        fuel=row.fuel,
        started=row.started_at is not None,
        output_bytes=row.output_bytes or 0,
        units=row.units or 0,
    )


_REASON_OF_TESTS: Final = "A test key made this cast: nothing was held, and nothing is charged."
_REASONS: Final = {
    Due.EVERYTHING: "The cast gave a result: fee, fuel and the creator's price are charged.",
    Due.PLATFORM: "The spell broke, met a limit or was canceled: fee and fuel are charged, the creator gets nothing.",
    Due.NOTHING: "Nothing ran to an end the caller answers for: all of the hold was released.",
}


def _rates(price: Price, creator: CreatorPrice, row: ReceiptRow) -> Rates:
    return Rates(
        price_version=price.version,
        per_cast_micros=price.per_cast_micros,
        per_gfuel_micros=price.per_gfuel_micros,
        platform_share_percent=price.platform_share_percent,
        creator=CreatorRates(
            per_cast_micros=creator.per_cast_micros,
            per_output_kib_micros=creator.per_output_kib_micros,
            per_unit_micros=creator.per_unit_micros,
            unit=row.unit,
            units_max=creator.units_max,
        ),
        quote_id=row.quote_id,
    )


def _lines(price: Price, creator: CreatorPrice, used: Used, pays_for: Due) -> tuple[Line, ...]:
    platform, everything = pays_for is not Due.NOTHING, pays_for is Due.EVERYTHING
    kib, per_kib = -(-used.output_bytes // KIB), creator.per_output_kib_micros
    paid_units = min(used.units, creator.units_max)
    lines = (
        _line("fee", 1, price.per_cast_micros, price.per_cast_micros, charged=platform),
        _line("fuel", used.fuel, price.per_gfuel_micros, fuel_micros(price, used.fuel or 0), charged=platform),
        _line("creator", 1, creator.per_cast_micros, creator.per_cast_micros, charged=everything),
        _line("output_kib", kib, per_kib, kib * per_kib, charged=everything),
        _line("units", paid_units, creator.per_unit_micros, paid_units * creator.per_unit_micros, charged=everything),
    )
    return tuple(line for line in lines if line.rate_micros)


def _line(
    what: Literal["fee", "fuel", "creator", "output_kib", "units"],
    quantity: int | None,
    rate_micros: int,
    amount_micros: int,
    *,
    charged: bool,
) -> Line:
    return Line(what=what, quantity=quantity, rate_micros=rate_micros, amount_micros=amount_micros, charged=charged)


def _ledger(cast: HeldCast, charged: Charge, batch_id: UUID | None) -> LedgerFacts:
    if batch_id is None:  # settled before batches were written down
        return LedgerFacts(batch_id=None, transfers=())
    ending = Ending(cast=cast, outcome=Outcome.SUCCEEDED, charge=charged)
    return LedgerFacts(batch_id=batch_id, transfers=_facts(transfers_of(ending, batch_id=batch_id)))


def _refund(row: ReceiptRow, transfers: Sequence[TransferRow]) -> RefundFacts | None:
    if row.refund_micros is None:
        return None
    assert row.refund_reason is not None
    assert row.refunded_at is not None
    return RefundFacts(
        amount_micros=row.refund_micros,
        reason=row.refund_reason,
        refunded_at=row.refunded_at,
        transfers=_facts(transfers),
    )


def _facts(rows: Sequence[TransferRow]) -> tuple[TransferFacts, ...]:
    return tuple(
        TransferFacts(id=row.id, kind=row.kind, debit=row.debit, credit=row.credit, amount_micros=row.amount_micros)
        for row in rows
    )
