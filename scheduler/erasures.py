"""Erasures: gone on with piece by piece until nothing is left that names anybody."""

import logging
from datetime import datetime
from typing import Final
from uuid import uuid4

from domain.flow.erase import ErasedPiece, erase_piece
from domain.model.messages import Pool as WorkerPool
from domain.store.connection import transaction
from gateways.metrics import Counter
from scheduler.jobs import Clockwork
from workers.broker import wire

log: Final = logging.getLogger("spell.scheduler")

# A run of a minute or so, less than a slot's lease takes.
PIECES_PER_RUN_MAX: Final = 300

ERASED: Final = Counter("spell_accounts_erased_total", "Accounts of which nothing is left that names anybody.")


async def erase(clockwork: Clockwork, now: datetime) -> str:
    """Go on with erasures until none is left, all that are left wait for casts, or the run is long."""
    pieces = waiting = 0
    while pieces < PIECES_PER_RUN_MAX:
        piece = await erase_one_piece(clockwork, now)
        if piece is None:
            break
        pieces += 1
        waiting = waiting + 1 if piece.waits else 0
        if waiting > 1:  # looked at in turn: who waits twice in a row is alone, or all wait
            break
    return f"{pieces} pieces of erasures done"


async def erase_one_piece(clockwork: Clockwork, now: datetime) -> ErasedPiece | None:
    """Do one piece, and tell the workers what was canceled."""
    async with transaction(clockwork.slow_pool) as connection:
        piece = await erase_piece(connection, now=now, batch_id=uuid4(), token_key=clockwork.token_key)
    if piece is None:
        return None
    if piece.canceled is not None:
        for pool in WorkerPool:
            told = [cast_id for where, cast_id in piece.canceled.signals if where is pool]
            await wire.request_cancel(clockwork.redis, pool.value, told)
            await wire.put(clockwork.redis, pool.value, [job for where, job in piece.canceled.freed if where is pool])
    if piece.finished is not None:
        ERASED.inc()
        log.info("an account is erased", extra={"account_id": piece.finished})
    return piece
