"""The ledger's rows that no cast makes. They are written and read, and never changed."""

from collections.abc import Sequence
from typing import Final

import msgspec

from domain.model.ledger import Transfer
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


async def transfers_insert(conn: Connection, rows: Sequence[Transfer]) -> None:
    """Write rows. The account's lock is held. Needs Role.ENGINE. Raises BadRowError for a cause that was booked."""
    if rows:
        await conn.execute(_QUERIES["transfers_insert"], {"rows": msgspec.json.encode(rows).decode()})
