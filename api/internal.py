"""What only workers ask for: compiled modules, under the worker token. Not part of the public contract."""

import base64
import hmac
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final

from litestar import Request, get
from litestar.params import Parameter
from litestar.response import Stream

from api.call import call_of
from api.services import Services
from domain.model.artifacts import DIGEST_BYTES
from domain.model.errors import Code, refuse
from domain.store import blobs
from domain.store.connection import Pool, transaction

SIGNATURE_HEADER: Final = "x-artifact-signature"
_ENGINE_KEY_CHARACTERS_MAX: Final = 200
_HEX_DIGEST: Final = rf"^[0-9a-f]{{{2 * DIGEST_BYTES}}}$"


@get("/internal/artifacts/{digest:str}", include_in_schema=False)
async def get_artifact(
    request: Request[Any, Any, Any],
    services: Services,
    digest: Annotated[str, Parameter(pattern=_HEX_DIGEST)],
    engine: Annotated[str, Parameter(max_length=_ENGINE_KEY_CHARACTERS_MAX)],
) -> Stream:
    """Answer the artifact of the module `digest` for the engine, with the platform's signature in base64."""
    _check_token(request, services.settings.worker_token.reveal())
    call_of(request.scope).counted = True  # a fleet that starts behind one address fetches every module at once
    async with transaction(services.engine_pool) as connection:
        artifact = await blobs.artifact_get(connection, module_digest=bytes.fromhex(digest), engine_key=engine)
        size = None if artifact is None else await blobs.blob_size(connection, digest=artifact.artifact_digest)
    if artifact is None or size is None:
        raise refuse(Code.NOT_FOUND, "This module has no artifact for this engine. `release` compiles it.")
    return Stream(
        pieces(services.engine_pool, artifact.artifact_digest),
        media_type="application/octet-stream",
        headers={
            SIGNATURE_HEADER: base64.b64encode(artifact.signature).decode("ascii"),
            "content-length": str(size),
        },
    )


async def pieces(engine_pool: Pool, digest: bytes) -> AsyncGenerator[bytes]:
    """Yield the stored bytes piece by piece, each read in a transaction of its own: they never change."""
    piece = 0
    while True:
        async with transaction(engine_pool) as connection:
            found = await blobs.piece_get(connection, digest=digest, piece=piece)
        if found is None:
            return
        yield found
        piece += 1


def _check_token(request: Request[Any, Any, Any], token: str) -> None:
    sent = request.headers.get("authorization", "").encode("latin-1", "replace")
    if not hmac.compare_digest(sent, f"Bearer {token}".encode()):
        raise refuse(Code.UNAUTHORIZED, "This route is for the platform's workers.")


ROUTES: Final = [get_artifact]
