"""Paying a settled cast back: the transfers that undo it, from the same hands to the same hands. Pure.

The cast, its usage and the budgets it was counted in stay as they are: it was used, and a limit bounds what may be used
in a period, whoever pays in the end. What changes is who owes what: the next invoice's difference, or the credits.
"""

from typing import Final
from uuid import UUID, uuid5

from domain.model.booking import TransferRow, transfers_of
from domain.model.messages import Outcome
from domain.model.pricing import Charge
from domain.model.settlement import Ending, HeldCast

# The kind of the transfer that undoes one of a settlement.
_UNDOES: Final = {"cast_fee": "refund_fee", "creator_share": "refund_share"}


def refund_transfers(cast: HeldCast, charged: Charge, *, line_id: UUID | None = None) -> list[TransferRow]:
    """Return the settlement of this one cast turned round, in the same month and for the same spell.

    `line_id` is the line of an invoice that bills the cast, if one does: the creator's share is taken out of that one.
    Their ids follow from the cast, which is paid back once: a second writing of them is an error, not money.
    """
    ending = Ending(cast=cast, outcome=Outcome.SUCCEEDED, charge=charged)
    return [
        TransferRow(
            id=uuid5(cast.id, f"refund|{row.id}"),
            batch_id=cast.id,
            kind=_UNDOES[row.kind],
            debit=row.credit,
            credit=row.debit,
            account_id=row.account_id,
            spell_id=row.spell_id,
            month=row.month,
            amount_micros=row.amount_micros,
            source_id=(row.source_id or line_id) if row.kind == "creator_share" else None,
        )
        for row in transfers_of(ending, batch_id=cast.id)
    ]
