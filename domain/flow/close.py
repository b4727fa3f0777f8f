"""The one gate: casts go from open to final once, and everything booked follows from what the gate returned."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from domain.model.booking import book
from domain.model.events import cast_events, threshold_event
from domain.model.messages import CastJob, Outcome, Pool, cast_token
from domain.model.settlement import OPEN, Ending, ending_without_run
from domain.store import settlement as store
from domain.store.connection import Connection
from domain.store.events import events_insert


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch of endings did: casts that are final now, and casts whose turn on the wire has come."""

    endings: tuple[Ending, ...] = ()
    freed: tuple[tuple[Pool, CastJob], ...] = ()
    """To be put on the wire after COMMIT; if that is missed, resend does it."""


async def close(connection: Connection, endings: Sequence[Ending], *, batch_id: UUID, token_key: bytes) -> Closed:
    """End the casts that are still open and book what that moves. The caller has locked their accounts.

    `endings` names a cast once. An ending the gate does not return moves nothing.
    """
    assert len({ending.cast.id.int for ending in endings}) == len(endings), "duplicates are dropped before the gate"
    if not endings:
        return Closed()
    final = await store.end(connection, endings, batch_id=batch_id)
    passed = tuple(ending for ending in endings if ending.cast.id.int in final)
    if not passed:
        return Closed()
    waiting, reached = await store.write(connection, book(passed, batch_id=batch_id), cast_events(passed))
    if reached:
        await events_insert(connection, [threshold_event(window) for window in reached])
    freed = await store.name_next(connection, waiting) if waiting else []
    return Closed(endings=passed, freed=tuple((cast.pool, job_of_row(cast, token_key)) for cast in freed))


async def end_without_run(
    connection: Connection,
    cast_ids: Sequence[UUID],
    outcome: Outcome,
    *,
    batch_id: UUID,
    token_key: bytes,
    message: str = "",
) -> Closed:
    """End those of `cast_ids` that are open with an outcome nobody pays for, through the gate.

    Accounts somebody else holds are left for the next run.
    """
    if not cast_ids:
        return Closed()
    locked, casts, _ = await store.lock_and_read(connection, cast_ids, skip_locked=True)
    endings = [
        ending_without_run(cast, outcome, message)
        for cast in casts
        if cast.status in OPEN and cast.account_id in locked
    ]
    return await close(connection, endings, batch_id=batch_id, token_key=token_key)


def job_of_row(cast: store.WireCast, token_key: bytes) -> CastJob:
    """Return the job of a cast that waited in Postgres, with the token its worker must bring back."""
    return CastJob(
        cast_id=cast.cast_id,
        token=cast_token(token_key, cast_id=cast.cast_id, digest=cast.digest, limits=cast.limits),
        digest=cast.digest,
        limits=cast.limits,
        input=cast.input,
        accepted_ms=cast.accepted_ms,
        deadline_ms=cast.deadline_ms,
        traceparent=cast.traceparent,
    )
