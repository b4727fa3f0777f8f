"""A small world for domain tests: accounts, a key, a spell, budgets, written by plain SQL."""

import os
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
import psycopg

from domain.flow.reserve import NotLocked, reserve
from domain.model.admission import AdmissionRequest, CastSpec, Verdict
from domain.model.admission_state import Terms
from domain.model.budgets import window_id
from domain.model.creator_price import NO_PRICE, CreatorPrice, PriceChange
from domain.model.ids import ENTROPY_BYTES
from domain.model.limits import CastLimits
from domain.model.messages import Pool
from domain.model.periods import Period, starts_on
from domain.model.pricing import Price
from domain.store.connection import Pool as DatabasePool
from domain.store.connection import transaction

PRICE = Price(version=1, per_cast_micros=1_000, per_gfuel_micros=1_500, platform_share_percent=20)
TERMS = Terms(price=PRICE, free_casts_per_month=0, billing_enabled=False, metered_limit_default_micros=10**12)
TOKEN_KEY = b"k" * 32
HOLD = 2_500  # of a cast with the default fuel limit and no creator's price


class World(msgspec.Struct, frozen=True, kw_only=True):
    """One consumer with a key, and one creator with a spell."""

    database_url: str
    account_id: UUID
    key_id: UUID
    creator_id: UUID
    spell_id: UUID
    version_id: UUID

    def spec(self, *, creator_price_micros: int = 0, pool: Pool = Pool.DEFAULT, text: bytes = b"{}") -> CastSpec:
        return CastSpec(
            spell_id=self.spell_id,
            version_id=self.version_id,
            creator_id=self.creator_id,
            price=None if creator_price_micros == 0 else standing(self.version_id, creator_price_micros),
            digest=b"d" * 32,
            pool=pool,
            limits=CastLimits(),
            input=text,
            deadline_ms=60_000,
        )

    def request(self, *specs: CastSpec, key: str | None = None, body: bytes = b"h") -> AdmissionRequest:
        return AdmissionRequest(
            account_id=self.account_id,
            key_id=self.key_id,
            casts=specs or (self.spec(),),
            idempotency_key=key,
            request_hash=body.ljust(32, b"."),
        )

    async def add_budget(
        self,
        limit_micros: int,
        *,
        scope: str = "account",
        period: Period = Period.MONTHLY,
        scope_id: UUID | None = None,
    ) -> UUID:
        budget_id = uuid4()
        async with await psycopg.AsyncConnection.connect(self.database_url, autocommit=True) as connection:
            await connection.execute(
                "INSERT INTO budgets (id, account_id, scope, scope_id, period, hard_limit_micros)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                (budget_id, self.account_id, scope, scope_id or self.account_id, period, limit_micros),
            )
        return budget_id

    async def window(self, budget_id: UUID, period: Period = Period.MONTHLY) -> tuple[int, int]:
        """Return (spent, held) of the budget's window of today."""
        today = starts_on(period, datetime.now(UTC))
        rows = await self.rows(
            "SELECT spent_micros, held_micros FROM budget_windows WHERE id = %s", window_id(budget_id, today)
        )
        return (rows[0][0], rows[0][1]) if rows else (0, 0)

    async def rows(self, query: str, *parameters: object) -> list[tuple]:
        async with await psycopg.AsyncConnection.connect(self.database_url, autocommit=True) as connection:
            cursor = await connection.execute(query.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []


def standing(version_id: UUID, per_cast_micros: int) -> PriceChange:
    """Return a price that has been in force for ever, of which the database has no row."""
    price = CreatorPrice(per_cast_micros=per_cast_micros)
    return PriceChange(version_id=version_id, number=1, announced_ms=0, effective_ms=0, before=NO_PRICE, after=price)


async def make_world(database_url: str, *, billing: str = "on", subscribed: bool = True) -> World:
    """Make a world whose casts are on its bill, unless it is said to be otherwise."""
    account_id, key_id, creator_id, spell_id, version_id = (uuid4() for _ in range(5))
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        for identifier in (account_id, creator_id):
            await connection.execute(
                "INSERT INTO accounts (id, handle, billing, subscription_active) VALUES (%s, %s, %s, %s)",
                (identifier, f"a{identifier.hex[:12]}", billing, subscribed),
            )
        await connection.execute(
            # With a bound that nothing reaches, so that its open casts are counted.
            "INSERT INTO api_keys (id, account_id, prefix, secret_hash, name, open_casts_max)"
            " VALUES (%s, %s, %s, 'x', 'test', 100000)",
            (key_id, account_id, f"sk_live_{key_id.hex[:8]}"),
        )
        await connection.execute(
            "INSERT INTO price_book (version, per_cast_micros, per_gfuel_micros, platform_share_percent)"
            " VALUES (1, 1000, 1500, 20) ON CONFLICT DO NOTHING"
        )
        await connection.execute(
            "INSERT INTO blobs (digest, size_bytes) VALUES (%s, 1) ON CONFLICT DO NOTHING", (b"d" * 32,)
        )
        await connection.execute(
            "INSERT INTO spells (id, account_id, name) VALUES (%s, %s, 'wordcount')", (spell_id, creator_id)
        )
        await connection.execute(
            "INSERT INTO spell_versions (id, spell_id, account_id, version, digest, size_bytes, manifest)"
            " VALUES (%s, %s, %s, '1.0.0', %s, 1, '{}')",
            (version_id, spell_id, creator_id, b"d" * 32),
        )
    return World(
        database_url=database_url,
        account_id=account_id,
        key_id=key_id,
        creator_id=creator_id,
        spell_id=spell_id,
        version_id=version_id,
    )


async def admit(pool: DatabasePool, *requests: AdmissionRequest, terms: Terms = TERMS) -> list[Verdict | NotLocked]:
    """Reserve and commit."""
    entropy = os.urandom(ENTROPY_BYTES * sum(len(request.casts) for request in requests))
    async with transaction(pool) as connection:
        return await reserve(connection, requests, terms, entropy=entropy)
