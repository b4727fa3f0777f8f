"""The operator pays a cast back."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import post

from api.operator.admin import require_admin
from api.services import Services
from domain.flow.refund_cast import refund_cast
from domain.model.audit import Actor
from domain.store.connection import transaction


class RefundBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why: it stands on the cast's receipt."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]


class RefundView(msgspec.Struct, frozen=True, kw_only=True):
    """What was paid back. `made` is false when it had been before: nothing moved a second time."""

    cast_id: UUID
    account_id: UUID
    amount_micros: int
    reason: str
    refunded_at: datetime
    made: bool


@post("/admin/casts/{cast_id:uuid}/refund", tags=["admin"], guards=[require_admin], status_code=200)
async def refund(services: Services, admin: Actor, cast_id: UUID, data: RefundBody) -> RefundView:
    """Pay a settled cast back, whole and once: in the ledger, to the credits it took, from its creator's share."""
    async with transaction(services.engine_pool) as connection:
        row, made = await refund_cast(connection, cast_id=cast_id, reason=data.reason, actor=admin, now=services.now())
    return RefundView(
        cast_id=row.cast_id,
        account_id=row.account_id,
        amount_micros=row.amount_micros,
        reason=row.reason,
        refunded_at=row.refunded_at,
        made=made,
    )


ROUTES: Final = [refund]
