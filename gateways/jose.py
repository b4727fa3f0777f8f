"""JSON Web Signatures of the platform: what it promised and what it charged, for anybody to check."""

import base64
from typing import Any, Final, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

# RFC 9864: the name says the curve, where the older EdDSA leaves it open.
ALGORITHM: Final = "Ed25519"


class PublicKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the set that everybody may fetch (RFC 7517, RFC 8037)."""

    kid: str
    """Its thumbprint (RFC 7638)."""
    kty: str
    crv: str
    x: str
    alg: str
    use: str
    purpose: str
    """What it signs: `receipts`, with the quotes before them, or `artifacts`."""


def public_key(seed: bytes, *, purpose: str) -> PublicKey:
    """Return the public half of the pair that belongs to 32 secret bytes."""
    return retired_key(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw(), purpose=purpose)


def retired_key(raw: bytes, *, purpose: str) -> PublicKey:
    """Return a public key of 32 bytes, whose secret half need not be anywhere any more."""
    members = {"kty": "OKP", "crv": ALGORITHM, "x": _text(raw)}
    key = OKPKey.import_key(cast("Any", members))
    return PublicKey(kid=key.thumbprint(), **members, alg=ALGORITHM, use="sig", purpose=purpose)


class JwsSigner:
    """Signs texts of one kind each: `typ` stands in the signed header, so that a quote is never taken for a receipt."""

    def __init__(self, seed: bytes) -> None:
        self._key: Final = _key_of(seed)
        self._kid: Final = self._key.thumbprint()

    def sign(self, payload: bytes, *, typ: str) -> str:
        """Return the compact JWS of exactly these bytes; the same each time."""
        header = {"alg": ALGORITHM, "typ": typ, "kid": self._kid}
        return jws.serialize_compact(cast("Any", header), payload, self._key, algorithms=[ALGORITHM])

    def read(self, token: str, *, typ: str) -> bytes | None:
        """Return the payload of a token that this key signed as `typ`; None for any other text."""
        try:
            found = jws.deserialize_compact(token.encode(), self._key, algorithms=[ALGORITHM])
        except (JoseError, ValueError):
            return None
        return found.payload if found.headers().get("typ") == typ else None


def _key_of(seed: bytes) -> OKPKey:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return OKPKey.import_key({"kty": "OKP", "crv": ALGORITHM, "d": _text(seed), "x": _text(public)})


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
