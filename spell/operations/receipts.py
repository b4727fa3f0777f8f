"""Prices, quotes, receipts: what a cast would cost, and what it did."""

import base64
from typing import Any, Final

import msgspec

from spell import receipts
from spell.core.exchange import JSON, Plan, Request, Session, Steps, json_body
from spell.core.names import cast_path, spell_path, version_path
from spell.core.operation import Operation, decoded
from spell.models.casts import Cast, Limits
from spell.models.prices import Price
from spell.models.receipts import KeySet, Quote, Receipt, SignedReceipt

_HEADERS: Final = {"content-type": JSON}
_price: Final = decoded(Price)
_quote: Final = decoded(Quote)
_receipt: Final = decoded(SignedReceipt)
_keys: Final = decoded(KeySet)


def set_price(
    spell: str, version: str, *, per_cast_micros: int = 0, per_output_kib_micros: int = 0, per_unit_micros: int = 0
) -> Operation[Price]:
    """Name the whole price of a version of your own spell: lower at once, higher in 14 days (`next` says when).

    It is what you get for each cast that gives a result, before the platform's share of it.
    """
    body = {
        "per_cast_micros": per_cast_micros,
        "per_output_kib_micros": per_output_kib_micros,
        "per_unit_micros": per_unit_micros,
    }
    path = f"{version_path(spell, version)}/price"
    return Operation(request=Request(method="PUT", path=path, headers=_HEADERS, body=json_body(body)), decode=_price)


def quote(
    spell: str,
    input: Any = msgspec.UNSET,  # noqa: A002  # the API's own name; any JSON, or bytes
    *,
    limits: Limits | None = None,
) -> Operation[Quote]:
    """Return what a cast would cost at most, with version and prices promised for 15 minutes. Nothing is held.

    Arguments are those of `cast()`.
    """
    path, _, version = spell.partition("@")
    members: dict[str, Any] = {"version": version or "latest"}
    if limits is not None:
        members["limits"] = limits
    if isinstance(input, bytes | bytearray):
        members["input_base64"] = base64.b64encode(input).decode("ascii")
    elif input is not msgspec.UNSET:
        members["input"] = input
    request = Request(
        method="POST", path=f"{spell_path(path)}/quote", headers=_HEADERS, body=msgspec.json.encode(members)
    )
    return Operation(request=request, decode=_quote)


def receipt(cast: Cast | str) -> Operation[SignedReceipt]:
    """Return the receipt of a cast that has ended, as the platform signed it. Conflict while it is open."""
    return Operation(request=Request(method="GET", path=f"{cast_path(cast)}/receipt"), decode=_receipt)


def public_keys() -> Operation[KeySet]:
    """Return the platform's public keys; keep them to verify receipts without asking again."""
    return Operation(request=Request(method="GET", path="/.well-known/jwks.json"), decode=_keys)


def verify_receipt(document: bytes | str | SignedReceipt) -> Plan[Receipt]:
    """Return what a receipt says, if this platform signed exactly that; ReceiptInvalid says what is wrong.

    It asks the platform for its public keys; `spell.receipts.verify` does the same with keys you kept.
    """

    def steps(session: Session) -> Steps[Receipt]:
        keys = yield from public_keys().steps(session)
        return receipts.verify(document, keys)

    return Plan(steps)
