"""A quote: what a cast would cost at most and under which terms, promised until it expires. Signed by the edge.

It is stateless: whoever brings it back within its time gets its version at its prices, as often as they like.
"""

from typing import Final
from uuid import UUID

import msgspec

from domain.model.creator_price import CreatorPrice
from domain.model.limits import CastLimits
from domain.model.pricing import Price

# Time to show a price to a person and to hear their answer, and short against a creator's notice.
QUOTE_MS: Final = 15 * 60 * 1000
QUOTE_VERSION: Final = 1
# The kind of text that is signed, in the header of its signature.
QUOTE_TYP: Final = "spell-quote+jws"
# A quote is some 900 characters; more is no quote.
QUOTE_CHARACTERS_MAX: Final = 4_096


class QuotedTerms(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What admission takes from a quote whose signature was checked."""

    id: UUID
    price: Price
    creator_price: CreatorPrice
    expires_ms: int


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """All that is signed."""

    v: int = QUOTE_VERSION
    id: UUID
    account_id: UUID
    """Whose it is: nobody else can cast with it."""
    spell_id: UUID
    version_id: UUID
    spell: str
    version: str
    digest: str
    limits: CastLimits
    price: Price
    creator_price: CreatorPrice
    max_price_micros: int
    """What is held for a cast with these limits, and the most it costs."""
    expires_ms: int

    @property
    def terms(self) -> QuotedTerms:
        """The part that decides the price."""
        return QuotedTerms(id=self.id, price=self.price, creator_price=self.creator_price, expires_ms=self.expires_ms)
