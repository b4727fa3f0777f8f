"""Mutants of the pure rules that no test can notice, each with the reason."""

_ZERO = "rounded towards zero from either side, nothing is nothing"
_NOTHING = "a price of nothing adds nothing: the branch spares the additions"
_FOR_EACH = "there is a part for each: the rule that makes them says so, and is tested"
_NO_ROOM = "a key that may have no open cast has none accepted, and this is shown with one that was"
_WHOSE = "a month is found by its account, and nobody asks it whose it is"
_NO_SECRET = "SHA-1 gives the same; the word is for machines that forbid it where secrets hang on it"
_ANY_OUTCOME = "bookings follow from the charge; an ending has an outcome, and nobody looks at it here"
_SUMS = "what flows take from one place they bring to another, so it holds; the words are for who changes them"

EXPLAINED: dict[str, str] = {
    "admission._Batch._accept: `or 0)` to `or 1)`": _NO_ROOM,
    "admission._Purse.__init__: `= MonthState(account_id=account.id) self.windows:` to"
    " `= MonthState(account_id=None) self.windows:`": _WHOSE,
    "admission._Purse.__init__: `= False` to `= None`": "either is no budget",
    "booking._grants: `ending.charge.cost_micros), strict=True): row` to"
    " `ending.charge.cost_micros), strict=None): row`": _FOR_EACH,
    "booking._grants: `spend_parts(parts, ending.charge.cost_micros), strict=True): row` to"
    " `spend_parts(parts, ending.charge.cost_micros)): row`": _FOR_EACH,
    "booking._grants: `ending.charge.cost_micros), strict=True): row` to"
    " `ending.charge.cost_micros), strict=False): row`": _FOR_EACH,
    "booking._uuid5: `+ name.encode(), usedforsecurity=False).digest()[:16], version=5)` to"
    " `+ name.encode()).digest()[:16], version=5)`": _NO_SECRET,
    "booking._uuid5: `name.encode(), usedforsecurity=False).digest()[:16], version=5)` to"
    " `name.encode(), usedforsecurity=None).digest()[:16], version=5)`": _NO_SECRET,
    "booking._uuid5: `name.encode(), usedforsecurity=False).digest()[:16], version=5)` to"
    " `name.encode(), usedforsecurity=True).digest()[:16], version=5)`": _NO_SECRET,
    "credits.whole_credits: `micros >= 0` to `micros > 0`": _ZERO,
    "credits.whole_credits: `>= 0 else` to `>= 1 else`": _ZERO,
    "earnings._levelled: `0, 'what leaves one place comes to another' return` to"
    " `0, 'WHAT LEAVES ONE PLACE COMES TO ANOTHER' return`": _SUMS,
    "earnings._levelled: `0, 'what leaves one place comes to another' return` to"
    " `0, 'XXwhat leaves one place comes to anotherXX' return`": _SUMS,
    "earnings.lost_of: `back >= used_price:` to `back > used_price:`": "all of what he has, either way",
    "invoicing.last_month: `- timedelta(days=1))` to `- timedelta(days=2))`": "any day of the month before will do",
    "receipt._ledger: `Ending(cast=cast, outcome=Outcome.SUCCEEDED, charge=charged)` to"
    " `Ending(cast=cast, outcome=None, charge=charged)`": _ANY_OUTCOME,
    "refund.refund_transfers: `Ending(cast=cast, outcome=Outcome.SUCCEEDED, charge=charged)` to"
    " `Ending(cast=cast, outcome=None, charge=charged)`": _ANY_OUTCOME,
    "pricing.hold_micros: `NO_PRICE else` to `NO_PRICE and False else`": _NOTHING,
}
