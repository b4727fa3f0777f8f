"""Cancel casts: free at once when not started, else ask their worker to stop."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from domain.flow.close import close
from domain.model.messages import CastJob, Outcome, Pool
from domain.model.settlement import Status, ending_without_run
from domain.store import settlement as store
from domain.store.connection import Connection


class Canceled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the casts asked for; those that were final already are in none of the lists."""

    canceled: list[UUID]
    signals: list[tuple[Pool, UUID]]
    """To be told to the workers after COMMIT: running casts to kill, queued ones to skip."""
    freed: tuple[tuple[Pool, CastJob], ...]


async def cancel(
    connection: Connection, account_id: UUID, cast_ids: Sequence[UUID], *, batch_id: UUID, token_key: bytes
) -> Canceled:
    """Cancel those of `cast_ids` that belong to `account_id` and are open. May be run again without harm."""
    await store.lock_account(connection, account_id)
    mine = await store.of_account(connection, account_id, cast_ids)
    _, casts, _ = await store.lock_and_read(connection, mine)
    queued = [cast for cast in casts if cast.status is Status.QUEUED]
    running = [cast for cast in casts if cast.status is Status.RUNNING]
    if running:
        await store.request_cancel(connection, [cast.id for cast in running])
    endings = [ending_without_run(cast, Outcome.CANCELED) for cast in queued]
    closed = await close(connection, endings, batch_id=batch_id, token_key=token_key)
    return Canceled(
        canceled=[ending.cast.id for ending in closed.endings],
        signals=[(cast.pool, cast.id) for cast in casts if cast in running or (cast in queued and cast.on_wire)],
        freed=closed.freed,
    )
