"""GET /v1/casts/{id}/receipt: what a cast held and was charged, and for what, signed."""

from typing import Final
from uuid import UUID

import msgspec
from litestar import Response, get

from api.access import needs
from api.auth import Principal
from api.services import Services
from domain.flow.make_receipt import make_receipt
from domain.model.key_rules import KeyScope
from domain.model.receipt import Receipt
from domain.store.connection import transaction


class SignedReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt to read, and the same bytes as a JWS to prove it by."""

    receipt: Receipt
    jws: str | None
    """Compact, its payload is exactly `receipt`; null on a platform without a receipt key."""
    jwks_url: str
    """Where the public key is."""


@get("/v1/casts/{cast_id:uuid}/receipt", tags=["casts"], access=needs(KeyScope.CASTS_READ, test_keys=True))
async def get_receipt(services: Services, principal: Principal, cast_id: UUID) -> Response[SignedReceipt]:
    """Return the receipt of a cast that has ended: rates, quantities, hold, charge, release, refund, ledger.

    It can be had for ever, when the cast's data has long expired, and says the same each time until there is a refund.
    """
    if principal.test:
        await services.casts.row(cast_id, principal)  # not found, where it is a live one
    issuer = services.settings.public_url
    async with transaction(services.engine_pool) as connection:
        receipt = await make_receipt(connection, account_id=principal.account_id, cast_id=cast_id, issuer=issuer)
    signed = SignedReceipt(
        receipt=receipt,
        jws=services.receipts.sign(msgspec.json.encode(receipt)),
        jwks_url=f"{issuer}/.well-known/jwks.json",
    )
    return Response(signed)


ROUTES: Final = [get_receipt]
