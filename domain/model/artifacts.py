"""How a compiled module is named and what its signature covers: shared by the signer (api) and the verifier (worker).

Pure: the cryptography lives in `gateways.signing`.
"""

from typing import Final

DIGEST_BYTES: Final = 32
"""A module's digest and an artifact's hash are both SHA-256."""

# The version in the prefix lets a later statement never be mistaken for this one.
_STATEMENT_PREFIX: Final = b"spell-artifact-v1\0"


def artifact_statement(*, digest: bytes, engine_key: str, artifact_sha256: bytes) -> bytes:
    """Return the bytes that the platform signs: this artifact is that module, compiled for that engine.

    The two hashes have a fixed length and stand at both ends, so no two triples share a statement.
    """
    if len(digest) != DIGEST_BYTES or len(artifact_sha256) != DIGEST_BYTES:
        message = "a digest is 32 bytes of SHA-256"
        raise ValueError(message)
    return b"".join((_STATEMENT_PREFIX, digest, engine_key.encode("ascii"), artifact_sha256))


def artifact_file_name(digest: bytes, engine_key: str) -> str:
    """Return the name of the artifact's file in a cache folder; `signature_file_name` lies beside it."""
    return f"{digest.hex()}.{engine_key}.cwasm"


def signature_file_name(digest: bytes, engine_key: str) -> str:
    """Return the name of the file with the 64 raw bytes of the Ed25519 signature."""
    return f"{digest.hex()}.{engine_key}.sig"
