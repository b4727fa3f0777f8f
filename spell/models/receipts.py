"""Quotes and receipts. Money is micros, 10^-6 US dollars."""

from datetime import datetime

import msgspec

from spell.models.spells import VersionLimits


class QuotedRates(msgspec.Struct, frozen=True, kw_only=True):
    """The prices a quote fixes."""

    price_version: int
    per_cast_micros: int
    per_gfuel_micros: int
    creator_per_cast_micros: int = 0
    creator_per_output_kib_micros: int = 0
    creator_per_unit_micros: int = 0
    units_max: int = 0


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What a cast would cost at most; version and prices are promised until `expires_at`.

    Give it to `cast(..., quote=...)`.
    """

    id: str
    quote: str
    """The text that is sent with the cast."""
    spell: str
    version: str
    digest: str
    limits: VersionLimits
    max_price_micros: int
    rates: QuotedRates
    currency: str = "usd"
    expires_at: datetime


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a price: `quantity` at `rate_micros` (of fuel: for 10^9)."""

    what: str
    """`fee`, `fuel`, `creator`, `output_kib` or `units`."""
    quantity: int | None
    rate_micros: int
    amount_micros: int
    charged: bool
    """False: used, and not owed by a cast that ended so."""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """What was held: captured and released are all of it."""

    held_micros: int
    captured_micros: int
    released_micros: int
    waived_micros: int
    pays_for: str
    reason: str


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """What was paid back."""

    amount_micros: int
    reason: str
    refunded_at: datetime


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a cast held, and was charged for what."""

    v: int
    issuer: str
    """The platform's address."""
    cast_id: str
    account: str
    spell: str
    version: str
    digest: str
    engine_key: str | None = None
    status: str
    outcome: str
    accepted_at: datetime
    finished_at: datetime | None = None
    currency: str = "usd"
    lines: tuple[Line, ...] = ()
    hold: Hold
    platform_micros: int
    creator_micros: int
    funding: str
    refund: Refund | None = None


class SignedReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt as the platform gives it: to read, and signed. `casts.verify_receipt()` checks it."""

    receipt: msgspec.Raw
    """Its JSON as it came: `read()` gives a Receipt."""
    jws: str | None = None
    jwks_url: str = ""

    def read(self) -> Receipt:
        """Return what it says, unchecked."""
        return msgspec.json.decode(self.receipt, type=Receipt)


class PublicKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the platform's set (RFC 7517)."""

    kid: str
    kty: str
    crv: str = ""
    x: str = ""
    purpose: str = ""


class KeySet(msgspec.Struct, frozen=True, kw_only=True):
    """The public keys of a platform: `/.well-known/jwks.json`."""

    keys: tuple[PublicKey, ...]
