"""What the platform puts its name to: quotes before a cast, receipts after it; and how a quote is known again."""

from collections.abc import Sequence
from typing import Final, NoReturn
from uuid import UUID

import msgspec

from api.errors import invalid
from domain.model.errors import Code, Fault, RefusedError, refuse
from domain.model.quote import QUOTE_CHARACTERS_MAX, QUOTE_TYP, QUOTE_VERSION, Quote
from domain.model.receipt import RECEIPT_TYP
from gateways.jose import JwsSigner, PublicKey, public_key, retired_key


class Quotes:
    """Signs quotes and knows its own. Without a key there are none."""

    def __init__(self, signer: JwsSigner | None) -> None:
        self._signer: Final = signer

    def sign(self, quote: Quote) -> str:
        """Return the text a cast brings back. RefusedError (not found) on a platform without a key for it."""
        if self._signer is None:
            raise refuse(Code.NOT_FOUND, "This platform gives no quotes: it has no RECEIPT_SIGNING_KEY.")
        return self._signer.sign(msgspec.json.encode(quote), typ=QUOTE_TYP)

    def read(self, text: str, account_id: UUID) -> Quote:
        """Return the quote in `text`. RefusedError (validation) when it is not ours, or another account's."""
        payload = None
        if self._signer is not None and len(text) <= QUOTE_CHARACTERS_MAX:
            payload = self._signer.read(text, typ=QUOTE_TYP)
        quote = None if payload is None else _decode(payload)
        if quote is None or quote.v != QUOTE_VERSION:
            refuse_quote("it was not signed by this platform", "Send the text `quote` of POST …/quote unchanged.")
        if quote.account_id != account_id:
            refuse_quote("it was made for another account", "Ask for a quote with the key you cast with.")
        return quote


def _decode(payload: bytes) -> Quote | None:
    try:
        return msgspec.json.decode(payload, type=Quote)
    except msgspec.MsgspecError:  # of a later version of ours
        return None


class Receipts:
    """Signs receipts, and holds the public keys of everything that is signed here."""

    def __init__(self, receipt_key: bytes | None, *, retired_keys: Sequence[bytes] = (), artifact_key: bytes) -> None:
        self._signer: Final = None if receipt_key is None else JwsSigner(receipt_key)
        self.keys: Final[tuple[PublicKey, ...]] = (
            *(() if receipt_key is None else (public_key(receipt_key, purpose="receipts"),)),
            *(retired_key(key, purpose="receipts") for key in retired_keys),
            public_key(artifact_key, purpose="artifacts"),
        )

    def sign(self, receipt: bytes) -> str | None:
        """Return the signature of a receipt's bytes; None on a platform without a key for it."""
        return None if self._signer is None else self._signer.sign(receipt, typ=RECEIPT_TYP)


def refuse_quote(message: str, fix: str) -> NoReturn:
    """Raise the 422 of a quote that cannot be used."""
    raise RefusedError(invalid([Fault(location="quote", message=message, fix=fix)]))
