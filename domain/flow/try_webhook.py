"""Send an endpoint an event that means nothing, to see whether it arrives."""

from typing import Final
from uuid import UUID

import msgspec

from domain.flow.creation import IdempotentCall, lock_active_account, made_before, remember
from domain.flow.update_webhook import find_webhook
from domain.model.errors import Code, refuse
from domain.model.webhooks import EventType
from domain.store import deliveries, identity, webhooks
from domain.store.connection import Connection
from domain.store.deliveries import DeliveryRow

_PAYLOAD: Final = msgspec.json.encode({"message": "Somebody asked for this event to see that it arrives."}).decode()


async def try_webhook(
    conn: Connection,
    *,
    account_id: UUID,
    endpoint_id: UUID,
    delivery_id: UUID,
    event_id: UUID,
    call: IdempotentCall | None = None,
) -> tuple[DeliveryRow, bool]:
    """Write a `webhook.test` event for this endpoint alone, whatever it subscribes to; return its delivery.

    The second value tells that an earlier call with this Idempotency-Key did it. Raises RefusedError: not found,
    conflict (the endpoint is disabled).
    """
    await lock_active_account(conn, account_id=account_id)
    endpoint = await find_webhook(conn, account_id=account_id, endpoint_id=endpoint_id)
    before = await made_before(conn, account_id=account_id, call=call)
    if before is None:
        if endpoint.disabled_at is not None:
            raise refuse(Code.CONFLICT, "This webhook is disabled. PATCH it with `disabled: false` first.")
        now = await identity.instant_read(conn)
        await webhooks.test_insert(
            conn,
            delivery_id=delivery_id,
            account_id=account_id,
            endpoint_id=endpoint_id,
            event_id=event_id,
            event_type=EventType.WEBHOOK_TEST,
            payload=_PAYLOAD,
            now=now,
        )
        await remember(conn, account_id=account_id, call=call, made_id=delivery_id, now=now)
    row = await deliveries.delivery_get(conn, account_id=account_id, delivery_id=before or delivery_id)
    if row is None:
        raise refuse(Code.NOT_FOUND, "The delivery this Idempotency-Key made is gone. Use a new key.")
    return row, before is not None
