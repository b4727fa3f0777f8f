"""Transfers between accounts of the ledger that no cast makes, and what these accounts are called.

`debit` gives and `credit` gets: money Stripe collects debits `cash:stripe`, credits somebody has are owed to him and
stand on the credit side of `credits:{account}`.
"""

from collections.abc import Sequence
from datetime import date
from typing import Final, NamedTuple
from uuid import UUID, uuid5

import msgspec

# What Stripe holds for us.
CASH: Final = "cash:stripe"
# What is given away: credits for nothing, and usage worth more than its package costs.
PROMOTION: Final = "promotion:platform"
# Credits that were paid for and expired.
BREAKAGE: Final = "breakage:platform"
REVENUE: Final = "revenue:platform"
# What creators had of money that never came, or went back.
UNCOLLECTED: Final = "uncollected:platform"

# As `str` writes a UUID, in an eighth of the time.
_text: Final = msgspec.to_builtins


def credits_of(account_id: UUID) -> str:
    """Return the ledger's name of the credits an account has."""
    return f"credits:{_text(account_id)}"


def receivable_of(account_id: UUID) -> str:
    """Return the ledger's name of what an account owes."""
    return f"receivable:{_text(account_id)}"


def creator_of(account_id: UUID) -> str:
    """Return the ledger's name of what a creator has earned and nobody has collected yet: pending."""
    return f"creator:{_text(account_id)}"


def payable_of(account_id: UUID) -> str:
    """Return the ledger's name of what the platform owes a creator now; its debit side may be more: he owes then."""
    return f"payable:{account_id}"


def paying_of(account_id: UUID) -> str:
    """Return the ledger's name of what is on its way to a creator: frozen, and not yet confirmed by Stripe."""
    return f"paying:{account_id}"


def unbilled_of(account_id: UUID) -> str:
    """Return the ledger's name of what an account used while nobody billed it: it owes nothing for that."""
    return f"unbilled:{_text(account_id)}"


class Move(NamedTuple):
    """An amount from one account of the ledger to another; 0 moves nothing."""

    debit: str
    credit: str
    micros: int


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the ledger to write."""

    id: UUID
    batch_id: UUID
    kind: str
    debit: str
    credit: str
    amount_micros: int
    account_id: UUID
    month: date
    source_id: UUID | None = None
    """Of creators' shares: what pays them."""


def transfers(kind: str, moves: Sequence[Move], *, cause: UUID, account_id: UUID, month: date) -> list[Transfer]:
    """Return the rows of one lasting cause. Their ids follow from it: written a second time they are refused."""
    return [
        Transfer(
            id=uuid5(cause, f"{kind}|{move.debit}|{move.credit}"),
            batch_id=cause,
            kind=kind,
            debit=move.debit,
            credit=move.credit,
            amount_micros=move.micros,
            account_id=account_id,
            month=month,
        )
        for move in moves
        if move.micros > 0
    ]


def backwards(moves: Sequence[Move]) -> tuple[Move, ...]:
    """Return what undoes these moves."""
    return tuple(Move(debit=move.credit, credit=move.debit, micros=move.micros) for move in moves)
