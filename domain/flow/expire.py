"""End casts nobody will end any more: past their deadline and past every report that may still be on its way."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from domain.flow.close import Closed, end_without_run
from domain.model.messages import Outcome
from domain.store import settlement as store
from domain.store.connection import Connection

# A worker that took the cast a moment before its deadline may run it to its wall limit in the default pool (30 s),
# and its report may wait for a ledger that was just restarted.
GRACE: Final = timedelta(seconds=120)
EXPIRE_AT_ONCE_MAX: Final = 500


async def expire(connection: Connection, *, now: datetime, batch_id: UUID, token_key: bytes) -> Closed:
    """Expire at most EXPIRE_AT_ONCE_MAX overdue casts; nothing is charged. Run it only while the ledger is current."""
    overdue = await store.overdue(connection, before=now - GRACE, limit=EXPIRE_AT_ONCE_MAX)
    return await end_without_run(connection, overdue, Outcome.DEADLINE_PASSED, batch_id=batch_id, token_key=token_key)
