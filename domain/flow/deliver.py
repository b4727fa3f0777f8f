"""Deliveries: taken under a lease, and what came of them written down. The network is in between, never in here."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from domain.flow.render_event import Told, render_events
from domain.model.delivery import FAILING_MAX, Answer, Delivery, Endpoint, Kind, Status, Verdict, judge, storable
from domain.model.events import disabled_event
from domain.store import outgoing as store
from domain.store.connection import Connection
from domain.store.events import events_insert
from domain.store.outgoing import AttemptRow, ClaimLimits, Finish, OutgoingRow
from domain.store.webhooks import accounts_refresh


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What one claim took."""

    deliveries: Sequence[Delivery]
    after: str | None
    """Where the next claim goes on; None when every destination was looked at."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a delivery."""

    delivery: Delivery
    answer: Answer | None
    """None: it is not to be sent any more."""
    jitter_permille: int
    """As `judge` takes it."""
    started_at: datetime
    duration_ms: int
    request_headers: str
    """A JSON object, for the log."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rows."""

    results: Sequence[tuple[Kind, Status]]
    gone: Sequence[UUID]
    """Endpoints to give up, because they say that nobody is there any more."""
    failing: Sequence[UUID]
    """Endpoints to give up, because nothing has arrived there for too long."""


async def take(
    connection: Connection, limits: ClaimLimits, *, lease: timedelta, casts_url: str, after: str = ""
) -> Taken | None:
    """Take what is due, at most once a row while its lease lasts; None: another courier claims at this moment.

    `casts_url` is the address all casts are under. The time is the database's, as all couriers share it.
    """
    now = await store.take_turn(connection)
    if now is None:
        return None
    if not await store.anything_due(connection, now=now):
        return Taken(deliveries=(), after=None)
    claimed = await store.claim(connection, limits, now=now, lease_until=now + lease, after=after)
    if not claimed.ids:
        return Taken(deliveries=(), after=claimed.after)
    rows = await store.read(connection, claimed.ids, now=now)
    told = [
        Told(id=row.id, event_type=row.event_type, created_at=row.created_at, cast_id=row.cast_id, payload=row.payload)
        for row in rows
        if row.kind == Kind.WEBHOOK and row.endpoint_usable is not False
    ]
    bodies = await render_events(connection, told, casts_url=casts_url)
    return Taken(deliveries=[_delivery(row, bodies.get(row.id)) for row in rows], after=claimed.after)


def _delivery(row: OutgoingRow, body: bytes | None) -> Delivery:
    kind = Kind(row.kind)
    if kind is Kind.MAIL:
        body = None if row.payload is None else row.payload.encode()
    return Delivery(
        id=row.id,
        account_id=row.account_id,
        kind=kind,
        event_id=row.event_id,
        event_type=row.event_type,
        endpoint=_endpoint(row),
        target=row.target,
        destination=row.destination,
        body=body,
        attempt=row.attempts,
        tries=row.attempts - row.attempts_before,
        lease_until=row.lease_until,
    )


def _endpoint(row: OutgoingRow) -> Endpoint | None:
    if row.endpoint_id is None or row.secret_version is None:
        return None
    return Endpoint(
        id=row.endpoint_id,
        secret_version=row.secret_version,
        previous_secret_signs=bool(row.previous_secret_signs),
        usable=bool(row.endpoint_usable),
    )


async def record(connection: Connection, outcomes: Sequence[Outcome], *, now: datetime) -> Recorded:
    """Write down what came of deliveries, as often as it takes; pauses before a retry count from `now`."""
    ordered = sorted(outcomes, key=lambda outcome: outcome.delivery.id)
    verdicts = [_verdict(outcome, now) for outcome in ordered]
    attempts = [_attempt(outcome, outcome.answer) for outcome in ordered if outcome.answer is not None]
    if attempts:
        await store.log_attempts(connection, attempts)
    finished = [
        Finish(
            id=outcome.delivery.id,
            lease_until=outcome.delivery.lease_until,
            status=verdict.status,
            next_attempt_at=verdict.next_attempt_at,
        )
        for outcome, verdict in zip(ordered, verdicts, strict=True)
    ]
    await store.finish(connection, finished, now=now)
    gone, failing = await _judge_endpoints(connection, ordered, verdicts, now=now)
    results = [(one.delivery.kind, verdict.status) for one, verdict in zip(ordered, verdicts, strict=True)]
    return Recorded(results=results, gone=gone, failing=failing)


def _verdict(outcome: Outcome, now: datetime) -> Verdict:
    if outcome.answer is None:
        return Verdict(status=Status.CANCELED)
    tries, jitter_permille = outcome.delivery.tries, outcome.jitter_permille
    return judge(outcome.answer, tries=tries, now=now, jitter_permille=jitter_permille)


def _attempt(outcome: Outcome, answer: Answer) -> AttemptRow:
    return AttemptRow(
        outgoing_id=outcome.delivery.id,
        attempt=outcome.delivery.attempt,
        account_id=outcome.delivery.account_id,
        started_at=outcome.started_at,
        duration_ms=outcome.duration_ms,
        request_headers=outcome.request_headers,
        status_code=answer.status_code,
        response_body=None if answer.status_code is None else answer.body,
        error=None if answer.error is None else storable(answer.error),
    )


async def _judge_endpoints(
    connection: Connection, outcomes: Sequence[Outcome], verdicts: Sequence[Verdict], *, now: datetime
) -> tuple[list[UUID], list[UUID]]:
    """Note how endpoints do; return those that are gone, and those that have failed for too long."""
    reached: set[UUID] = set()
    failed: set[UUID] = set()
    gone: set[UUID] = set()
    for outcome, verdict in zip(outcomes, verdicts, strict=True):
        endpoint = outcome.delivery.endpoint
        if endpoint is None or outcome.answer is None:
            continue
        (reached if verdict.status is Status.DELIVERED else failed).add(endpoint.id)
        if verdict.endpoint_gone:
            gone.add(endpoint.id)
    failed -= reached
    await store.endpoints_answered(connection, reached=sorted(reached), failed=sorted(failed), now=now)
    failing = await store.hopeless(connection, sorted(failed - gone), since=now - FAILING_MAX) if failed - gone else []
    return sorted(gone), failing


async def give_up(connection: Connection, endpoint_ids: Sequence[UUID], *, reason: str, now: datetime) -> int:
    """Disable endpoints, once each, and have their accounts told; return how many. `reason`: `failing` or `gone`."""
    await store.lock_accounts(connection, endpoint_ids)
    disabled = await store.disable_endpoints(connection, endpoint_ids, reason=reason, now=now)
    if disabled:
        await accounts_refresh(connection, account_ids=sorted({endpoint.account_id for endpoint in disabled}))
        await events_insert(connection, [disabled_event(endpoint) for endpoint in disabled])
    return len(disabled)


async def release(connection: Connection, deliveries: Sequence[Delivery], *, now: datetime) -> int:
    """Give back deliveries that will not be finished here; return how many still were this courier's."""
    return await store.release(connection, [(one.id, one.lease_until) for one in deliveries], now=now)
