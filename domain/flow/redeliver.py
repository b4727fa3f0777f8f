"""Send again what was sent before, or given up: one delivery, or all that an endpoint missed."""

from datetime import datetime
from uuid import UUID

from domain.flow.creation import lock_active_account
from domain.flow.update_webhook import find_webhook
from domain.model.delivery import Status
from domain.model.errors import Code, refuse
from domain.model.webhook_rules import ROWS_AT_ONCE_MAX
from domain.store import deliveries, identity, outgoing
from domain.store.connection import Connection
from domain.store.deliveries import DeliveryRow


async def redeliver(conn: Connection, *, account_id: UUID, endpoint_id: UUID | None, delivery_id: UUID) -> DeliveryRow:
    """Send one delivery again, or now if it waits for its next attempt; return it as it stands. Twice is once.

    `endpoint_id` is None for the address a cast came with. The retries begin anew; the log of attempts goes on, and
    the id of the event stays, so a receiver that had it drops it. Raises RefusedError: not found, conflict (disabled).
    """
    await lock_active_account(conn, account_id=account_id)
    if endpoint_id is not None:
        await _check_enabled(conn, account_id=account_id, endpoint_id=endpoint_id)
    row = await _find(conn, account_id=account_id, endpoint_id=endpoint_id, delivery_id=delivery_id)
    now = await identity.instant_read(conn)
    if row.status == Status.PENDING:
        await deliveries.delivery_bring_forward(conn, account_id=account_id, delivery_id=delivery_id, now=now)
    else:
        await outgoing.reset(conn, delivery_id, account_id=account_id, now=now)
    return await _find(conn, account_id=account_id, endpoint_id=endpoint_id, delivery_id=delivery_id)


async def redeliver_missed(
    conn: Connection, *, account_id: UUID, endpoint_id: UUID, since: datetime, until: datetime
) -> int:
    """Send again what the endpoint missed of events in [since, until), oldest first; return how many.

    At most ROWS_AT_ONCE_MAX: with as many there may be more, and the same call goes on with them.
    Raises RefusedError: not found, conflict (disabled).
    """
    await lock_active_account(conn, account_id=account_id)
    await _check_enabled(conn, account_id=account_id, endpoint_id=endpoint_id)
    return await deliveries.deliveries_reset(
        conn,
        account_id=account_id,
        endpoint_id=endpoint_id,
        since=since,
        until=until,
        limit=ROWS_AT_ONCE_MAX,
        now=await identity.instant_read(conn),
    )


async def _check_enabled(conn: Connection, *, account_id: UUID, endpoint_id: UUID) -> None:
    endpoint = await find_webhook(conn, account_id=account_id, endpoint_id=endpoint_id)
    if endpoint.disabled_at is not None:
        raise refuse(Code.CONFLICT, "This webhook is disabled. PATCH it with `disabled: false` first.")


async def _find(conn: Connection, *, account_id: UUID, endpoint_id: UUID | None, delivery_id: UUID) -> DeliveryRow:
    row = await deliveries.delivery_get(conn, account_id=account_id, delivery_id=delivery_id)
    if row is None or row.endpoint_id != endpoint_id:
        raise refuse(Code.NOT_FOUND, "There is no such delivery. They are kept for some weeks.")
    return row
