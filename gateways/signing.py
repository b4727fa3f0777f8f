"""Ed25519 signatures of the platform: raw keys travel as base64, signatures as 64 raw bytes."""

import base64
import binascii
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_KEY_BYTES: Final = 32


class KeyPair(msgspec.Struct, frozen=True, kw_only=True):
    """A fresh pair, both halves as base64 of 32 raw bytes, ready to be put into the environment."""

    signing_key: str
    verify_key: str


def _raw_key(text: str, kind: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        message = f"the {kind} key is not base64; make a pair with gateways.signing.generate_key_pair()"
        raise ValueError(message) from error
    if len(raw) != _KEY_BYTES:
        message = f"the {kind} key has {len(raw)} bytes, Ed25519 keys have {_KEY_BYTES}"
        raise ValueError(message)
    return raw


class Signer:
    """Holds a private key. Only the process that compiles at publish may have one."""

    def __init__(self, signing_key: str) -> None:
        """Take the base64 of 32 raw bytes; ValueError says what is wrong with it, never what it is."""
        self._key: Final = Ed25519PrivateKey.from_private_bytes(_raw_key(signing_key, "signing"))

    def sign(self, statement: bytes) -> bytes:
        """Return the 64-byte signature over exactly these bytes."""
        return self._key.sign(statement)

    @property
    def verify_key(self) -> str:
        """The public half, as base64."""
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode("ascii")


class Verifier:
    """Holds a public key."""

    def __init__(self, verify_key: str) -> None:
        """Take the base64 of 32 raw bytes; ValueError says what is wrong with it."""
        self._key: Final = Ed25519PublicKey.from_public_bytes(_raw_key(verify_key, "verify"))

    def accepts(self, signature: bytes, statement: bytes) -> bool:
        """Tell whether the signature is the holder's over exactly these bytes; any malformed one is not."""
        try:
            self._key.verify(signature, statement)
        except InvalidSignature:
            return False
        return True


def generate_key_pair() -> KeyPair:
    """Return a new pair from the system's randomness."""
    private = Ed25519PrivateKey.generate()
    return KeyPair(
        signing_key=base64.b64encode(private.private_bytes_raw()).decode("ascii"),
        verify_key=base64.b64encode(private.public_key().public_bytes_raw()).decode("ascii"),
    )
