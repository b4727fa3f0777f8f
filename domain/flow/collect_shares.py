"""Bring creators' shares to where the money behind them is: pending, payable, or lost. Under the payer's lock alone.

What moves is the difference between where shares belong and where the ledger has them, so that whatever is told twice
or late moves nothing more; and every row's id follows from its cause, so that the ledger refuses a second one.
"""

from datetime import datetime
from uuid import UUID, uuid5

from domain.model.earnings import COLLECTED_AFTER, bill_flows, flow_transfers, grant_flows, ripe_until
from domain.model.periods import month_of
from domain.store import earnings
from domain.store.connection import Connection
from domain.store.ledger import transfers_insert


async def collect_bills(conn: Connection, *, account_id: UUID, now: datetime) -> int:
    """Move the shares in an account's invoices to where they belong, and return how many rows that took.

    The caller holds the payer's lock, and has just changed how an invoice stands or paid a billed cast back.
    """
    found = await earnings.billed_shares_read(conn, account_id=account_id)
    flows = bill_flows(found.shares, collected_micros=found.collected_micros)
    cause = uuid5(account_id, f"shares|{found.moved}")
    await transfers_insert(conn, flow_transfers(flows, cause=cause, source_id=account_id, month=month_of(now)))
    return len(flows)


async def collect_grant(conn: Connection, *, account_id: UUID, grant_id: UUID, now: datetime) -> int:
    """Move the shares a grant paid to where they belong, and return how many rows that took.

    The caller holds the payer's lock; until it is given back nobody else books anything that the grant pays.
    """
    funds = await earnings.grant_funds_read(conn, account_id=account_id, grant_id=grant_id)
    found = await earnings.grant_shares_read(conn, grant_id=grant_id, ripe_until=ripe_until(funds, now))
    flows = [flow for share in found.shares for flow in grant_flows(share, funds)]
    cause = uuid5(grant_id, f"shares|{found.moved}")
    await transfers_insert(conn, flow_transfers(flows, cause=cause, source_id=grant_id, month=month_of(now)))
    waits_since = found.waits_since if funds.bought_at is None or found.waits_since is None else funds.bought_at
    await earnings.grant_seen(
        conn,
        account_id=account_id,
        grant_id=grant_id,
        used_micros=funds.used_micros,
        look_at=None if waits_since is None else waits_since + COLLECTED_AFTER,
    )
    return len(flows)
