"""What creators earn, by the clock: shares that credits paid become payable when they have waited long enough."""

from datetime import datetime
from typing import Final
from uuid import UUID

from domain.flow.collect_shares import collect_grant
from domain.store import earnings, identity
from domain.store.connection import LockTimeoutError, transaction
from gateways.metrics import Counter
from scheduler.jobs import Clockwork

GRANTS_AT_ONCE_MAX: Final = 100
# Times that, a run: less than a slot's lease takes.
ROUNDS_MAX: Final = 50
_FIRST: Final = UUID(int=0)

MOVED: Final = Counter("spell_share_transfers_total", "Transfers of creators' shares of credits, by the clock.")


async def collect(clockwork: Clockwork, now: datetime) -> str:
    """Look at the grants that are due, one a transaction; whose account is busy has its turn in the next slot."""
    moved, busy, after = 0, 0, _FIRST
    for _ in range(ROUNDS_MAX):
        async with transaction(clockwork.slow_pool) as connection:
            due = await earnings.grants_due(connection, after=after, now=now, limit=GRANTS_AT_ONCE_MAX)
        for grant_id, account_id in due:
            try:
                async with transaction(clockwork.slow_pool) as connection:
                    await identity.account_lock(connection, account_id=account_id)
                    moved += await collect_grant(connection, account_id=account_id, grant_id=grant_id, now=now)
            except LockTimeoutError:
                busy += 1
        if len(due) < GRANTS_AT_ONCE_MAX:
            break
        after = due[-1][0]
    MOVED.inc(moved)
    return f"{moved} transfers of shares, {busy} accounts busy"
