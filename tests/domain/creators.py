"""Creators who are owed something: written into the ledger directly, as settlement and collection leave it there."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import psycopg

from tests.domain.world import World

OCTOBER, NOVEMBER = date(2026, 10, 1), date(2026, 11, 1)
# The day October is paid out, and long enough before it.
DAY = datetime(2026, 11, 15, tzinfo=UTC)
BEFORE = datetime(2026, 11, 3, tzinfo=UTC)
DOLLAR = 1_000_000


async def make_creator(world: World, stripe_account_id: str | None = None, *, status: str = "active") -> UUID:
    """Make an account, with a user; with an account at Stripe, one that can be paid."""
    account_id = uuid4()
    async with await psycopg.AsyncConnection.connect(world.database_url, autocommit=True) as owner:
        await owner.execute(
            b"INSERT INTO accounts (id, handle, status) VALUES (%s, %s, %s)",
            (account_id, f"a{account_id.hex[:12]}", status),
        )
        await owner.execute(
            b"INSERT INTO users (id, account_id, email) VALUES (%s, %s, %s)",
            (uuid4(), account_id, f"{account_id.hex}@example.org"),
        )
        if stripe_account_id is not None:
            await owner.execute(
                b"INSERT INTO payout_accounts (account_id, tried_at, stripe_account_id, details_submitted,"
                b" transfers_active, payouts_enabled, created_at, updated_at)"
                b" VALUES (%s, now(), %s, true, true, true, now(), now())",
                (account_id, stripe_account_id),
            )
    return account_id


async def owe(world: World, account_id: UUID, micros: int, *, at: datetime = BEFORE) -> None:
    """Have it become payable at that instant; a negative amount is taken back."""
    ends = [f"creator:{account_id}", f"payable:{account_id}"]
    debit, credit = ends if micros > 0 else reversed(ends)
    await world.rows(
        "INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, month, created_at)"
        " VALUES (%s, %s, 'share_collected', %s, %s, %s, %s, '2026-10-01', %s)",
        *(uuid4(), uuid4(), debit, credit, abs(micros), account_id, at),
    )


async def balances(world: World, account_id: UUID) -> Mapping[str, int]:
    """Return what stands on the credit side of the creator's accounts of the ledger, without those at 0."""
    rows = await world.rows(
        "SELECT split_part(name, ':', 1), sum(micros)::bigint FROM ("
        "  SELECT credit AS name, amount_micros AS micros FROM ledger_transfers"
        "  UNION ALL SELECT debit, -amount_micros FROM ledger_transfers) AS sides"
        " WHERE name IN ('payable:' || %s::text, 'paying:' || %s::text) GROUP BY 1 HAVING sum(micros) <> 0",
        *(account_id, account_id),
    )
    return {row[0]: row[1] for row in rows}


async def sent(world: World) -> int:
    """Return what the ledger says went out of the platform's balance at Stripe, in micros."""
    ((out, back),) = await world.rows(
        "SELECT coalesce(sum(amount_micros) FILTER (WHERE credit = 'cash:stripe'), 0)::bigint,"
        " coalesce(sum(amount_micros) FILTER (WHERE debit = 'cash:stripe'), 0)::bigint FROM ledger_transfers"
    )
    return out - back


async def told(world: World) -> list[tuple[str, str]]:
    """Return the mails that are on their way, by type and subject."""
    rows = await world.rows(
        "SELECT event_type, payload::json ->> 'subject' FROM outgoing WHERE kind = 'mail' ORDER BY created_at, id"
    )
    return [(row[0], row[1]) for row in rows]
