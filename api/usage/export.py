"""Every settled cast of a month, as CSV or JSON. Read page by page: no transaction waits for whoever downloads it."""

import csv
import io
from collections.abc import AsyncGenerator
from datetime import date
from typing import Final
from uuid import UUID

import msgspec

from api.usage.views import EventView, month_text
from domain.model.modes import Mode
from domain.model.usage import plain_cell
from domain.store import usage
from domain.store.connection import Pool, transaction

# About 200 KiB of text, read by key in a few milliseconds.
EVENTS_PER_PAGE: Final = 1_000


async def csv_export(engine_pool: Pool, account_id: UUID, month: date, mode: Mode = Mode.LIVE) -> AsyncGenerator[bytes]:
    """Yield a table with a heading (RFC 4180). No text of a user's begins a formula in a spreadsheet."""
    yield _csv([EventView.__struct_fields__])
    async for page in _pages(engine_pool, account_id, month, mode):
        yield _csv([tuple(map(_cell, msgspec.structs.astuple(event))) for event in page])


async def json_export(
    engine_pool: Pool, account_id: UUID, month: date, mode: Mode = Mode.LIVE
) -> AsyncGenerator[bytes]:
    """Yield one JSON object: `month`, and the casts in `data`. A reader whose text ends early has no whole object."""
    yield b'{"month":"%b","data":[' % month_text(month).encode("ascii")
    first = True
    async for page in _pages(engine_pool, account_id, month, mode):
        yield (b"" if first else b",\n") + b",\n".join(map(msgspec.json.encode, page))
        first = False
    yield b"]}\n"


async def _pages(engine_pool: Pool, account_id: UUID, month: date, mode: Mode) -> AsyncGenerator[list[EventView]]:
    after: UUID | None = None
    while True:
        async with transaction(engine_pool) as connection:
            events = await usage.events_read(
                connection, account_id=account_id, month=month, after=after, limit=EVENTS_PER_PAGE, mode=mode
            )
        if not events:
            return
        yield [_view(event) for event in events]
        after = events[-1].id


def _view(event: usage.UsageEvent) -> EventView:
    return EventView(
        cast_id=event.id,
        created_at=event.accepted_at,
        finished_at=event.finished_at,
        spell=event.spell,
        version=event.version,
        key_prefix=event.key_prefix or "",
        key_name=event.key_name or "",
        status=event.status,
        outcome=event.outcome,
        fuel=event.fuel,
        cpu_ms=event.cpu_us / 1000,
        memory_bytes_peak=event.memory_bytes_peak,
        duration_ms=event.wall_us / 1000,
        funding=event.funding,
        cost_micros=event.cost_micros,
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = msgspec.to_builtins(value)
    return plain_cell(text) if isinstance(text, str) else str(text)


def _csv(rows: list[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
