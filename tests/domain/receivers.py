"""Who is told of an account's events, made by the flows, and what was written down for them."""

from datetime import datetime
from uuid import UUID, uuid4

import msgspec

from domain.flow.create_webhook import NewWebhook, create_webhook
from domain.flow.follow_events import Following, follow
from domain.model.audit import OPERATOR
from domain.model.webhook_rules import EndpointTerms
from domain.store.connection import Pool, transaction
from tests.domain.world import World


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `outgoing`."""

    kind: str
    event_type: str
    event_id: UUID
    endpoint_id: UUID | None
    target: str | None
    status: str
    payload: dict | None
    created_at: datetime


async def subscribe(pool: Pool, account_id: UUID, *event_types: str) -> UUID:
    """Make an endpoint; without types it is told of everything."""
    terms = EndpointTerms(url="https://example.com/hook", event_types=event_types or ("*",), description="")
    new = NewWebhook(id=uuid4(), account_id=account_id, terms=terms)
    async with transaction(pool) as connection:
        return (await create_webhook(connection, new, private_allowed=(), actor=OPERATOR)).endpoint.id


async def start_following(pool: Pool, account_id: UUID) -> Following:
    async with transaction(pool) as connection:
        return await follow(connection, account_id=account_id)


async def give_mail(world: World, account_id: UUID, address: str) -> None:
    query = "INSERT INTO users (id, account_id, email) VALUES (%s, %s, %s)"
    await world.rows(query, uuid4(), account_id, address)


async def told(world: World) -> list[Told]:
    """Return all that was written down, in order of kind and target."""
    rows = await world.rows(
        "SELECT kind, event_type, event_id, endpoint_id, target, status, payload, created_at FROM outgoing"
        " ORDER BY kind, target NULLS FIRST, created_at"
    )
    return [
        Told(
            kind=row[0],
            event_type=row[1],
            event_id=row[2],
            endpoint_id=row[3],
            target=row[4],
            status=row[5],
            payload=None if row[6] is None else msgspec.json.decode(row[6]),
            created_at=row[7],
        )
        for row in rows
    ]
