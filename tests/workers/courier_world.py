"""Rows to deliver, couriers to deliver them, and what became of them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_network
from random import Random
from uuid import UUID, uuid4

import msgspec
import psycopg

from domain.store.connection import Pool, Role, open_pool
from gateways.names import Names
from gateways.smtp import Mailer
from gateways.webhook_http import WebhookClient
from tests.domain.world import World, make_world
from workers.courier.loop import LEASE, SLOTS_MAX, Courier
from workers.courier.sender import Sender

SIGNING_KEY = bytes(range(32))
PUBLIC_URL = "https://spells.test"
HERE = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
CASTS_URL = "https://spell.example.com/v1/casts"
# A busy machine may need all of it; nothing that is meant to answer takes a hundredth.
SECONDS_MAX = 30.0


class Row(msgspec.Struct, frozen=True, kw_only=True):
    status: str
    attempts: int
    leased: bool
    waits_s: float
    """Until the next attempt, from now."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    world: World
    pool: Pool
    names: Names

    def courier(
        self,
        *,
        mailer: Mailer | None = None,
        seconds_max: float = SECONDS_MAX,
        lease: timedelta = LEASE,
        slots_max: int = SLOTS_MAX,
    ) -> Courier:
        client = WebhookClient(self.names.resolve, private_allowed=HERE, seconds_max=seconds_max)
        sender = Sender(client, mailer, signing_key=SIGNING_KEY, public_url=PUBLIC_URL, random=Random(1))
        return Courier(self.pool, sender, casts_url=CASTS_URL, lease=lease, slots_max=slots_max)

    async def endpoint(self, url: str, *, account_id: UUID | None = None) -> UUID:
        endpoint_id = uuid4()
        await self.world.rows(
            "INSERT INTO webhook_endpoints (id, account_id, url, event_types) VALUES (%s, %s, %s, '{*}')",
            endpoint_id,
            account_id or self.world.account_id,
            url,
        )
        return endpoint_id

    async def events(
        self,
        count: int = 1,
        *,
        endpoint_id: UUID | None = None,
        target: str | None = None,
        kind: str = "webhook",
        payload: str = '{"n":1}',
        account_id: UUID | None = None,
    ) -> list[UUID]:
        """Write due rows, and return their ids; each is an event of its own."""
        ids = [uuid4() for _ in range(count)]
        async with await psycopg.AsyncConnection.connect(self.world.database_url, autocommit=True) as connection:
            await connection.cursor().executemany(
                "INSERT INTO outgoing (id, account_id, kind, event_id, event_type, endpoint_id, target, payload,"
                " created_at, next_attempt_at) VALUES (%s, %s, %s, %s, 'webhook.test', %s, %s, %s, now(), now())",
                [(one, account_id or self.world.account_id, kind, one, endpoint_id, target, payload) for one in ids],
            )
        return ids

    async def row(self, outgoing_id: UUID) -> Row:
        (row,) = await self.world.rows(
            "SELECT status, attempts, lease_until IS NOT NULL, extract(epoch FROM next_attempt_at - now())::float8"
            " FROM outgoing WHERE id = %s",
            outgoing_id,
        )
        return Row(status=row[0], attempts=row[1], leased=row[2], waits_s=row[3])

    async def statuses(self) -> dict[str, int]:
        return dict(await self.world.rows("SELECT status, count(*) FROM outgoing GROUP BY status"))

    async def log(self, outgoing_id: UUID) -> list[tuple]:
        """Return (attempt, status code, body, error) of each attempt."""
        return await self.world.rows(
            "SELECT attempt, status_code, response_body, error FROM outgoing_attempts WHERE outgoing_id = %s"
            " ORDER BY attempt",
            outgoing_id,
        )

    async def pass_time(self, outgoing_id: UUID | None = None) -> None:
        """Let the time pass that pending rows wait for: that of their retry, or of the lease of a dead courier.

        What a living one is writing at this moment stays as it is: two that lock many rows may wait for each other.
        """
        await self.world.rows(
            "UPDATE outgoing SET next_attempt_at = now() - interval '1 second',"
            " lease_until = CASE WHEN lease_until IS NOT NULL THEN now() - interval '1 second' END"
            " WHERE id IN (SELECT id FROM outgoing"
            " WHERE status = 'pending' AND (%s::uuid IS NULL OR id = %s) FOR UPDATE SKIP LOCKED)",
            outgoing_id,
            outgoing_id,
        )


@asynccontextmanager
async def make_setting(database_url: str) -> AsyncGenerator[Setting]:
    world = await make_world(database_url)
    async with Names() as names, open_pool(database_url, role=Role.ENGINE, size_max=6) as pool:
        yield Setting(world=world, pool=pool, names=names)


async def landed(courier: Courier, count: int) -> None:
    """Return when that many deliveries of the courier have ended and are not recorded yet."""
    async with asyncio.timeout(300):
        while len(courier._landed) < count:
            await courier._to_record.wait()
            courier._to_record.clear()
