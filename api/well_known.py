"""GET /.well-known/jwks.json: the public keys of what this platform signs."""

from typing import Final

import msgspec
from litestar import Response, get

from api.services import Services
from gateways.jose import PublicKey

# Who verifies may keep the keys for a while; a new one is fetched when a signature names a `kid` they do not have.
_CACHED: Final = {"cache-control": "public, max-age=300"}


class KeySet(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON Web Key Set (RFC 7517)."""

    keys: tuple[PublicKey, ...]


@get("/.well-known/jwks.json", sync_to_thread=False)
def get_keys(services: Services) -> Response[KeySet]:
    """Return the public keys by which receipts, quotes and compiled modules can be checked."""
    return Response(KeySet(keys=services.receipts.keys), headers=_CACHED)


ROUTES: Final = [get_keys]
