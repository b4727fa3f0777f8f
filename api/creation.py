"""Idempotency-Key on requests that create something: the header and the hash of what it came with."""

import hashlib
from typing import Any, Final

from litestar import Request

from api.errors import invalid
from domain.flow.creation import IdempotentCall
from domain.model.errors import Fault, RefusedError

KEY_CHARACTERS_MAX: Final = 255
REPLAYED: Final = {"Idempotent-Replayed": "true"}


async def idempotent_call(request: Request[Any, Any, Any]) -> IdempotentCall | None:
    """Return the caller's key with the SHA-256 of method, path and body; None when it sent no key.

    Raises RefusedError (validation) for a key that cannot be stored.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= KEY_CHARACTERS_MAX or not key.isprintable():
        fault = Fault(
            location="Idempotency-Key",
            message=f"it has {len(key)} characters, or one that cannot be printed",
            fix=f"Send 1 to {KEY_CHARACTERS_MAX} printable characters.",
        )
        raise RefusedError(invalid([fault]))
    head = f"{request.method} {request.url.path}\n".encode()
    return IdempotentCall(key=key, request_hash=hashlib.sha256(head + await request.body()).digest())
