"""What must be true of credits after every step, asked of the database by plain SQL; and steps that tests share."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg

from domain.flow.apply_order import apply_order
from domain.flow.grant_credits import grant_credits
from domain.flow.order_credits import NewOrder, order_credits
from domain.model.audit import OPERATOR
from domain.model.credit_orders import DisputeFacts, Facts
from domain.model.credits import Order
from domain.store.connection import Pool, transaction
from domain.store.credit_grants import NewGrant
from tests.domain.world import World

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
CREDIT = 10_000
STARTER = "starter"
PRICE = 9_990_000
WORTH = 10_000_000

# Each query returns the rows that are wrong.
BROKEN = {
    "the ledger has what the grants have": """
        SELECT a.id, g.micros, l.micros FROM accounts a
        LEFT JOIN (SELECT account_id, sum(balance_micros) AS micros FROM credit_grants GROUP BY 1) g
          ON g.account_id = a.id
        LEFT JOIN (
          SELECT name, sum(micros) AS micros FROM (
            SELECT credit AS name, amount_micros AS micros FROM ledger_transfers
            UNION ALL SELECT debit, -amount_micros FROM ledger_transfers) sides GROUP BY name
        ) l ON l.name = 'credits:' || a.id
        WHERE coalesce(g.micros, 0) <> coalesce(l.micros, 0)""",
    "the history has what the grants have": """
        SELECT a.id, g.micros, h.micros FROM accounts a
        LEFT JOIN (SELECT account_id, sum(balance_micros) AS micros FROM credit_grants GROUP BY 1) g
          ON g.account_id = a.id
        LEFT JOIN (SELECT account_id, sum(amount_micros) AS micros FROM credit_transactions GROUP BY 1) h
          ON h.account_id = a.id
        WHERE coalesce(g.micros, 0) <> coalesce(h.micros, 0)""",
    "the history has no gap": """
        SELECT * FROM (
          SELECT account_id, number, balance_before_micros,
            lag(balance_after_micros, 1, 0::bigint) OVER own AS before, row_number() OVER own AS place
          FROM credit_transactions WINDOW own AS (PARTITION BY account_id ORDER BY number)) h
        WHERE balance_before_micros <> before OR number <> place""",
    "what left a grant is explained": """
        SELECT a.id, g.micros, h.micros FROM accounts a
        LEFT JOIN (
          SELECT account_id, sum(granted_micros - balance_micros - expired_micros - taken_back_micros) AS micros
          FROM credit_grants GROUP BY 1) g ON g.account_id = a.id
        LEFT JOIN (
          SELECT account_id, -sum(amount_micros) AS micros FROM credit_transactions
          WHERE kind IN ('casts', 'consume', 'cast_refund') GROUP BY 1) h ON h.account_id = a.id
        WHERE coalesce(g.micros, 0) <> coalesce(h.micros, 0)""",
    "an order is granted once": """
        SELECT o.id FROM credit_orders o LEFT JOIN credit_grants g ON g.order_id = o.id
        GROUP BY o.id HAVING count(g.id) <> (o.granted_at IS NOT NULL)::int""",
    "the money that is here is what was paid and did not go back": """
        SELECT a.id, o.micros, t.micros, l.micros FROM accounts a
        LEFT JOIN (SELECT account_id, sum(price_micros) AS micros FROM credit_orders
                   WHERE granted_at IS NOT NULL GROUP BY 1) o ON o.account_id = a.id
        LEFT JOIN (SELECT account_id, sum(money_micros) AS micros FROM credit_takebacks
                   WHERE reversed_at IS NULL GROUP BY 1) t ON t.account_id = a.id
        LEFT JOIN (SELECT account_id, sum(CASE WHEN debit = 'cash:stripe' THEN amount_micros ELSE -amount_micros END)
                     AS micros FROM ledger_transfers WHERE 'cash:stripe' IN (debit, credit) GROUP BY 1) l
          ON l.account_id = a.id
        WHERE coalesce(o.micros, 0) - coalesce(t.micros, 0) <> coalesce(l.micros, 0)""",
    "what is owed is what could not be taken": """
        SELECT a.id, t.micros, l.micros FROM accounts a
        LEFT JOIN (SELECT account_id, sum(owed_micros) AS micros FROM credit_takebacks
                   WHERE reversed_at IS NULL GROUP BY 1) t ON t.account_id = a.id
        LEFT JOIN (
          SELECT account_id, sum(micros) AS micros FROM (
            SELECT account_id, debit AS name, amount_micros AS micros FROM ledger_transfers WHERE kind LIKE 'credit_%'
            UNION ALL
            SELECT account_id, credit, -amount_micros FROM ledger_transfers WHERE kind LIKE 'credit_%') sides
          WHERE name LIKE 'receivable:%' GROUP BY 1
        ) l ON l.account_id = a.id
        WHERE coalesce(t.micros, 0) <> coalesce(l.micros, 0)""",
    "no more is held than there is": """
        SELECT id FROM credit_grants WHERE held_micros NOT BETWEEN 0 AND balance_micros""",
    "no balance is below zero": "SELECT id FROM credit_grants WHERE balance_micros < 0",
    "one top-up at most is open": """
        SELECT account_id FROM credit_orders WHERE origin = 'top_up' AND status = 'pending'
        GROUP BY account_id HAVING count(*) > 1""",
}


async def broken_credits(database_url: str) -> dict[str, list[tuple]]:
    """Return the invariants that do not hold, each with the rows that break it."""
    found: dict[str, list[tuple]] = {}
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        for name, query in BROKEN.items():
            rows = await (await connection.execute(query.encode())).fetchall()
            if rows:
                found[name] = rows
    return found


async def order(world: World, pool: Pool, *, package_id: str = STARTER) -> UUID:
    """Order a package; nothing is paid."""
    new = NewOrder(id=uuid4(), account_id=world.account_id, package_id=package_id)
    async with transaction(pool) as connection:
        await order_credits(connection, new, credit_micros=CREDIT, actor=OPERATOR, call=None)
    return new.id


async def apply(pool: Pool, order_id: UUID, facts: Facts, *, now: datetime = NOW) -> Order | None:
    async with transaction(pool) as connection:
        return await apply_order(connection, order_id=order_id, facts=facts, now=now)


def paid(*, refunded_micros: int = 0, disputed_micros: int = 0, won: bool = False, price_micros: int = PRICE) -> Facts:
    """Return what Stripe says of a paid order."""
    disputes = (DisputeFacts(id="dp_1", money_micros=disputed_micros, won=won),) if disputed_micros else ()
    return Facts(payment="paid", paid_micros=price_micros, refunded_micros=refunded_micros, disputes=disputes)


async def give(
    world: World, pool: Pool, micros: int, *, expires_at: datetime | None = None, priority: int = 50
) -> UUID:
    """Give credits as the operator does."""
    grant = NewGrant(
        id=uuid4(), account_id=world.account_id, micros=micros, priority=priority, expires_at=expires_at, reason="test"
    )
    async with transaction(pool) as connection:
        await grant_credits(connection, grant, actor=OPERATOR, now=NOW)
    return grant.id


async def history(world: World) -> list[tuple[str, int, int]]:
    """Return kind, amount and balance of each change, oldest first."""
    return await world.rows(
        "SELECT kind, amount_micros, balance_after_micros FROM credit_transactions"
        " WHERE account_id = %s ORDER BY number",
        world.account_id,
    )


async def ledger(world: World) -> dict[tuple[str, str], int]:
    """Return what was moved between accounts of the ledger, whose own names are left off."""
    rows = await world.rows(
        "SELECT split_part(debit, ':', 1), split_part(credit, ':', 1), sum(amount_micros)::bigint"
        " FROM ledger_transfers WHERE account_id = %s GROUP BY 1, 2",
        world.account_id,
    )
    return {(debit, credit): micros for debit, credit, micros in rows}


async def grants(world: World) -> list[tuple[int, int]]:
    """Return balance and held of each grant, in order of use."""
    return await world.rows(
        "SELECT balance_micros, held_micros FROM credit_grants WHERE account_id = %s"
        " ORDER BY priority, expires_at NULLS LAST, id",
        world.account_id,
    )
