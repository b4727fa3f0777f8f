"""The operator gives credits, and gives money back for those nobody used."""

from typing import Any, Final
from uuid import UUID, uuid4, uuid5

import msgspec
from litestar import Request, post

from api.creation import idempotent_call
from api.credits.views import Credits, GrantBody, GrantView, grant_view
from api.operator.admin import require_admin
from api.services import Services
from domain.flow.grant_credits import grant_credits
from domain.flow.refund_order import refund_order
from domain.model.audit import Actor
from domain.model.credits import PRIORITY_GIVEN
from domain.model.errors import Code, refuse
from domain.store.connection import transaction
from domain.store.credit_grants import NewGrant
from domain.store.identity import account_by_handle


class RefundBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of an order to refund; nothing said, all that nobody used."""

    credits: Credits | None = None


class RefundView(msgspec.Struct, frozen=True, kw_only=True):
    """What goes back. The credits are gone now; the money is on its way."""

    id: UUID
    order_id: UUID
    money_micros: int
    credits_micros: int


@post("/admin/credits/grants", status_code=201, tags=["admin"], guards=[require_admin])
async def give_credits(request: Request[Any, Any, Any], services: Services, admin: Actor, data: GrantBody) -> GrantView:
    """Give an account credits for nothing. Send an Idempotency-Key."""
    credit_micros = services.settings.credit_micros
    call = await idempotent_call(request)
    async with transaction(services.engine_pool) as connection:
        account = await account_by_handle(connection, handle=data.handle)
        if account is None:
            raise refuse(Code.NOT_FOUND, "There is no account of this handle.")
        grant = NewGrant(
            id=uuid4(),
            account_id=account.id,
            micros=data.credits * credit_micros,
            priority=PRIORITY_GIVEN if data.priority is None else data.priority,
            expires_at=data.expires_at,
            reason=data.reason,
        )
        made = await grant_credits(connection, grant, actor=admin, call=call, now=services.now())
    return grant_view(made, credit_micros)


@post("/admin/credits/orders/{order_id:uuid}/refund", status_code=202, tags=["admin"], guards=[require_admin])
async def refund(
    request: Request[Any, Any, Any], services: Services, admin: Actor, order_id: UUID, data: RefundBody
) -> RefundView:
    """Refund what nobody used of an order, in whole cents rounded down. Send an Idempotency-Key."""
    call = await idempotent_call(request)
    taken_micros = None if data.credits is None else data.credits * services.settings.credit_micros
    async with transaction(services.engine_pool) as connection:
        taken = await refund_order(
            connection,
            order_id=order_id,
            refund_id=uuid4() if call is None else uuid5(order_id, f"refund|{call.key}|{call.request_hash.hex()}"),
            credits_micros=taken_micros,
            actor=admin,
            now=services.now(),
        )
    return RefundView(
        id=taken.id, order_id=order_id, money_micros=taken.money_micros, credits_micros=taken.credits_micros
    )


ROUTES: Final = [give_credits, refund]
