"""Mutants of the pure rules that no test can notice, each with the reason."""

_ZERO = "rounded towards zero from either side, nothing is nothing"
_NOTHING = "a price of nothing adds nothing: the branch spares the additions"
_ANY_OUTCOME = "bookings follow from the charge; an ending has an outcome, and nobody looks at it here"

EXPLAINED: dict[str, str] = {
    "credits.whole_credits: `micros >= 0` to `micros > 0`": _ZERO,
    "credits.whole_credits: `>= 0 else` to `>= 1 else`": _ZERO,
    "invoicing.last_month: `- timedelta(days=1))` to `- timedelta(days=2))`": "any day of the month before will do",
    "receipt._ledger: `Ending(cast=cast, outcome=Outcome.SUCCEEDED, charge=charged)` to"
    " `Ending(cast=cast, outcome=None, charge=charged)`": _ANY_OUTCOME,
    "refund.refund_transfers: `Ending(cast=cast, outcome=Outcome.SUCCEEDED, charge=charged)` to"
    " `Ending(cast=cast, outcome=None, charge=charged)`": _ANY_OUTCOME,
    "pricing.hold_micros: `NO_PRICE else` to `NO_PRICE and False else`": _NOTHING,
}
