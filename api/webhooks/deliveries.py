"""What was sent, to endpoints and to the `webhook_url` of a cast, and having it sent again."""

from collections.abc import Sequence
from typing import Annotated, Any, Final
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.params import Parameter

from api import weights
from api.auth import Principal
from api.listing import LIMIT_DEFAULT, LIMIT_MAX, link_headers, page_of, parse_cursor
from api.services import Services
from api.webhooks.endpoints import READ, WRITE
from api.webhooks.views import DeliveryList, DeliveryView, RedeliveredView, RedeliveryBody, delivery_view
from domain.flow.redeliver import redeliver, redeliver_missed
from domain.flow.update_webhook import find_webhook
from domain.model.delivery import Status
from domain.model.webhook_rules import ROWS_AT_ONCE_MAX
from domain.model.webhooks import message_id
from domain.store import deliveries
from domain.store.connection import Connection, account_transaction, transaction
from domain.store.deliveries import DeliveryRow

_TAGS: Final = ["webhooks"]
_ONE: Final = "/v1/webhooks/{webhook_id:uuid}"


@get(f"{_ONE}/deliveries", access=READ, tags=_TAGS)
async def list_deliveries(
    request: Request[Any, Any, Any],
    services: Services,
    principal: Principal,
    webhook_id: UUID,
    *,
    limit: Annotated[int, Parameter(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT,
    cursor: str | None = None,
    status: Status | None = None,
) -> Response[DeliveryList]:
    """List what was sent to an endpoint, each delivery with its attempts."""
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        await find_webhook(connection, account_id=principal.account_id, endpoint_id=webhook_id)
        rows = await deliveries.deliveries_list(
            connection,
            account_id=principal.account_id,
            endpoint_id=webhook_id,
            status=status,
            before=parse_cursor(cursor),
            limit=limit + 1,
        )
        page, following = page_of(rows, limit, lambda row: (row.created_at, row.id))
        views = await _views(connection, principal, page)
    query: dict[str, str | int | None] = {"limit": limit, "status": status}
    view = DeliveryList(data=views, next_cursor=following, has_more=following is not None)
    return Response(view, headers=link_headers(request.url.path, query, following))


@get("/v1/casts/{cast_id:uuid}/deliveries", access=READ, tags=_TAGS)
async def list_deliveries_of_cast(services: Services, principal: Principal, cast_id: UUID) -> DeliveryList:
    """List what was sent to the `webhook_url` the cast came with."""
    await services.casts.row(cast_id, principal)
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        rows = await deliveries.deliveries_of_cast(connection, account_id=principal.account_id, cast_id=cast_id)
        views = await _views(connection, principal, rows)
    return DeliveryList(data=views, next_cursor=None, has_more=False)


@post(
    f"{_ONE}/deliveries/{{delivery_id:uuid}}/redeliver",
    status_code=202,
    access=WRITE,
    weight=weights.REACH_OUT,
    tags=_TAGS,
)
async def send_again(services: Services, principal: Principal, webhook_id: UUID, delivery_id: UUID) -> DeliveryView:
    """Send a delivery again, or now if it waits for its next attempt."""
    return await _again(services, principal, webhook_id, delivery_id)


@post(
    "/v1/casts/{cast_id:uuid}/deliveries/{delivery_id:uuid}/redeliver",
    status_code=202,
    access=WRITE,
    weight=weights.REACH_OUT,
    tags=_TAGS,
)
async def send_again_of_cast(
    services: Services, principal: Principal, cast_id: UUID, delivery_id: UUID
) -> DeliveryView:
    """Send what went to the `webhook_url` of a cast again."""
    await services.casts.row(cast_id, principal)
    return await _again(services, principal, None, delivery_id)


@post(f"{_ONE}/redeliver", status_code=202, access=WRITE, weight=weights.REACH_OUT, tags=_TAGS)
async def send_missed(
    services: Services, principal: Principal, webhook_id: UUID, data: RedeliveryBody
) -> RedeliveredView:
    """Send again what the endpoint missed since a time: what was given up, and what was canceled."""
    async with transaction(services.engine_pool) as connection:
        count = await redeliver_missed(
            connection,
            account_id=principal.account_id,
            endpoint_id=webhook_id,
            since=data.since,
            until=data.until or services.now(),
        )
    return RedeliveredView(redelivered=count, has_more=count == ROWS_AT_ONCE_MAX)


async def _again(services: Services, principal: Principal, webhook_id: UUID | None, delivery_id: UUID) -> DeliveryView:
    async with transaction(services.engine_pool) as connection:
        row = await redeliver(
            connection, account_id=principal.account_id, endpoint_id=webhook_id, delivery_id=delivery_id
        )
        return (await _views(connection, principal, [row]))[0]


async def _views(connection: Connection, principal: Principal, rows: Sequence[DeliveryRow]) -> list[DeliveryView]:
    ids = [row.id for row in rows]
    attempts = await deliveries.attempts_list(connection, account_id=principal.account_id, delivery_ids=ids)
    return [delivery_view(row, message_id(row.event_id), attempts.get(row.id, [])) for row in rows]


ROUTES: Final = [list_deliveries, list_deliveries_of_cast, send_again, send_again_of_cast, send_missed]
