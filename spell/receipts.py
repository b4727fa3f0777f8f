"""Verify receipts: that the platform signed them, and that what is read is what was signed. Needs no server and no key.

receipt = spell.receipts.verify(saved_bytes, jwks_bytes)
"""

import base64
import binascii
from typing import Any, Final

import msgspec

from spell.core import ed25519
from spell.errors import ReceiptInvalid
from spell.models.receipts import KeySet, PublicKey, Receipt, SignedReceipt

_TYP: Final = "spell-receipt+jws"
# RFC 9864 and the older name of the same.
_ALGORITHMS: Final = frozenset({"Ed25519", "EdDSA"})


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    alg: str
    kid: str = ""
    typ: str = ""
    crit: tuple[str, ...] = ()


def verify(document: bytes | str | SignedReceipt, keys: KeySet | bytes | str) -> Receipt:
    """Return what a receipt says, if one of `keys` signed exactly that. ReceiptInvalid says what is wrong with it.

    `document` is the answer of `GET /v1/casts/{id}/receipt`, as it came or as saved, or its JWS alone. `keys` is the
    platform's `/.well-known/jwks.json`: who asks it from anywhere else proves nothing.
    """
    signed = document if isinstance(document, SignedReceipt) else _signed(document)
    if signed.jws is None:
        message = "it is not signed: this platform has no receipt key"
        raise ReceiptInvalid(message)
    payload = _payload(signed.jws, keys if isinstance(keys, KeySet) else read_keys(keys))
    if bytes(signed.receipt) and _value(bytes(signed.receipt)) != _value(payload):
        message = "what it says is not what was signed: the readable part was changed"
        raise ReceiptInvalid(message)
    return _read(payload, Receipt, "the signed text is no receipt this version can read")


def _signed(document: bytes | str) -> SignedReceipt:
    text = document.encode() if isinstance(document, str) else document
    if text.lstrip()[:1] == b"{":
        return _read(text, SignedReceipt, "it is no receipt: the answer of GET /v1/casts/{id}/receipt is one")
    return SignedReceipt(receipt=msgspec.Raw(), jws=text.decode("ascii", "replace").strip())


def _payload(jws: str, keys: KeySet) -> bytes:
    parts = jws.split(".")
    if len(parts) != len(("header", "payload", "signature")):
        message = "its signature is no compact JWS: three parts with dots between"
        raise ReceiptInvalid(message)
    header_part, payload_part, signature_part = parts
    header = _read(_bytes(header_part), _Header, "the header of its signature cannot be read")
    if header.alg not in _ALGORITHMS or header.typ != _TYP or header.crit:
        message = f"it is signed as {header.typ or 'something else'} with {header.alg}, not as a receipt with Ed25519"
        raise ReceiptInvalid(message)
    key = _key(keys, header.kid)
    if not ed25519.verify(_bytes(key.x), f"{header_part}.{payload_part}".encode(), _bytes(signature_part)):
        message = "the signature does not fit: it was changed, or another platform made it"
        raise ReceiptInvalid(message)
    return _bytes(payload_part)


def _key(keys: KeySet, kid: str) -> PublicKey:
    for key in keys.keys:
        if (key.kid, key.kty, key.crv) == (kid, "OKP", "Ed25519") and key.purpose in {"", "receipts"}:
            return key
    message = f"its key {kid!r} is none of the platform's receipt keys: was it made by another platform?"
    raise ReceiptInvalid(message)


def read_keys(text: bytes | str) -> KeySet:
    """Return the keys in a saved `/.well-known/jwks.json`. ReceiptInvalid when it is none."""
    return _read(text.encode() if isinstance(text, str) else text, KeySet, "the keys are no JSON Web Key Set")


def _bytes(text: str) -> bytes:
    try:
        raw = text.encode("ascii")
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError) as error:
        message = "a part of its signature is not base64url"
        raise ReceiptInvalid(message) from error


def _value(text: bytes) -> Any:  # any JSON
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        message = "it is not JSON"
        raise ReceiptInvalid(message) from error


def _read(text: bytes, kind: type[Any], fault: str) -> Any:  # of `kind`
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        message = f"{fault} ({error})"
        raise ReceiptInvalid(message) from error
