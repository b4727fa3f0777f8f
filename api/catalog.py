"""Which version a reference means, answered from memory: at most a second old, no I/O when warm."""

from uuid import UUID

import jsonschema_rs
import msgspec

from domain.model.limits import CastLimits
from domain.model.manifest import OutputEncoding
from domain.model.messages import Pool


class ResolvedSpell(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a spell with everything admission needs to know of it. Versions never change."""

    spell_id: UUID
    version_id: UUID
    owner: str
    """The handle of the creator's account."""
    name: str
    version: str
    """The exact version, like `1.2.0`."""
    digest: bytes
    """SHA-256 of the module, 32 bytes."""
    creator_id: UUID
    creator_price_micros: int
    limits_default: CastLimits
    """What a cast gets when its caller names no limits."""
    limits_max: CastLimits
    """The creator's bounds, never above the platform's: a caller may ask for anything from 1 up to these."""
    input_bytes_max: int
    pool: Pool
    """The pool of `limits_default`; `domain.model.manifest.pool_of` tells it for other limits."""
    input_validator: jsonschema_rs.Validator | None
    """Checks the decoded input; None when the manifest gives no schema for it."""
    output_encoding: OutputEncoding | None
    """Fixed by the manifest, or None: the first of json, text, base64 that fits the bytes."""
