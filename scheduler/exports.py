"""Exports of people's data: made piece by piece, and dropped when their time is over."""

import logging
from datetime import datetime
from typing import Final

from domain.flow.export_data import claim_export, give_up, keep_piece, make_piece, read_page
from domain.store import privacy
from domain.store import schedule as store
from domain.store.connection import transaction
from gateways.metrics import Counter
from scheduler.jobs import Clockwork

log: Final = logging.getLogger("spell.scheduler")

# A run of a minute at most, less than a slot's lease takes: a piece is some 100 ms of reading and compressing.
PIECES_PER_RUN_MAX: Final = 300
# Each of some MiB.
PIECES_DROPPED_AT_ONCE_MAX: Final = 50
DROPS_PER_RUN_MAX: Final = 100

PIECES: Final = Counter("spell_export_pieces_total", "Pieces of exports of accounts' data that were made.")
FAILED: Final = Counter("spell_exports_failed_total", "Exports that were given up. Not 0: look into the log.")


async def make_exports(clockwork: Clockwork, now: datetime) -> str:
    """Go on with the exports that were asked for, each a piece at a time, until none is left or the run is long."""
    async with transaction(clockwork.pool) as connection:
        for export_id in await give_up(connection, now=now):
            FAILED.inc()
            log.error("an export failed too often and was given up", extra={"export_id": export_id})
    made = 0
    while made < PIECES_PER_RUN_MAX and await make_one_piece(clockwork):
        made += 1
    return f"{made} pieces of exports made"


async def make_one_piece(clockwork: Clockwork) -> bool:
    """Make the next piece of the export that waits longest for one; False when none waits.

    Nothing is locked while it is read and compressed, so that two may make the same piece; one of them is kept.
    """
    async with transaction(clockwork.pool) as connection:
        now = await store.clock(connection)
        claimed = await claim_export(connection, now=now)
    if claimed is None:
        return False
    async with transaction(clockwork.slow_pool) as connection:
        page = await read_page(connection, claimed)
    piece = await make_piece(claimed, page)
    async with transaction(clockwork.slow_pool) as connection:
        if await keep_piece(connection, claimed, piece, now=now):
            PIECES.inc()
    return True


async def drop_exports(clockwork: Clockwork, now: datetime) -> str:
    """Drop the bytes of exports whose time is over, in pieces; that there was one stays."""
    async with transaction(clockwork.pool) as connection:
        expired = await privacy.exports_expire(connection, now=now)
    for _ in range(DROPS_PER_RUN_MAX):
        async with transaction(clockwork.slow_pool) as connection:
            if await privacy.pieces_drop(connection, limit=PIECES_DROPPED_AT_ONCE_MAX) == 0:
                break
    return f"{expired} exports expired"
