"""Make an export piece by piece: claim, read pages, put them into the archive, keep the piece.

Between these steps nothing is held but a lease. What a piece is made of follows from the rows and the state before it,
and it is kept together with the state after it: whoever dies in between leaves an export that somebody else finishes.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from domain.model.export_files import (
    ATTEMPTS_MAX,
    DATA_BYTES_PER_PAGE_MAX,
    EXPORT_DAYS_MAX,
    FILES,
    ExportFile,
    ExportState,
    file_name,
)
from domain.model.zip_stream import MEMBER_BYTES_MAX, ZipState, ZipWriter
from domain.store import privacy, privacy_pages
from domain.store.connection import Connection
from domain.store.privacy import ClaimedExport
from domain.store.privacy_pages import RowPage

# Longer than a piece takes on a machine that does ten other things.
LEASE: Final = timedelta(minutes=1)
ABOUT: Final = "export.json"
_NOTE: Final = (
    "Everything this platform keeps of the account, one file a kind. Rows made after `instant` are not in it; those"
    " that were there stand as they were when their file was written, between `instant` and the end of the export."
)


class About(msgspec.Struct, frozen=True, kw_only=True):
    """The first file of an archive."""

    export_id: UUID
    account_id: UUID
    user_id: UUID
    instant: datetime
    files: tuple[str, ...] = tuple(file.name for file in FILES)
    """A file of more than a gigabyte goes on in `<name>-2.json`."""
    note: str = _NOTE


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """The next bytes of an archive, and how far it is with them."""

    data: bytes
    state: ExportState


async def claim_export(conn: Connection, *, now: datetime) -> ClaimedExport | None:
    """Take an export whose next piece is to be made; None when there is none. Needs Role.ENGINE."""
    claimed = await privacy.export_claim(conn, now=now, lease_until=now + LEASE)
    if claimed is None or claimed.state is not None:
        return claimed
    casts = await privacy.casts_count(conn, account_id=claimed.account_id)
    return msgspec.structs.replace(claimed, state=ExportState(casts=casts))


async def read_page(conn: Connection, claimed: ClaimedExport) -> RowPage | None:
    """Return the next page of rows, or None when all files are written. Needs Role.ENGINE."""
    state = _state_of(claimed)
    if state.file == len(FILES):
        return None
    file = FILES[state.file]
    return await privacy_pages.page_read(
        conn,
        file.name,
        account_id=claimed.account_id,
        instant=claimed.created_at,
        after=state.after,
        rows_max=file.rows_per_page_max,
        bytes_max=DATA_BYTES_PER_PAGE_MAX,
    )


async def make_piece(claimed: ClaimedExport, page: RowPage | None) -> Piece:
    """Put a page into the archive; without one, end it. Compressed in a thread, beside whatever else is to be done."""
    return await asyncio.to_thread(_compose, claimed, page)


async def keep_piece(conn: Connection, claimed: ClaimedExport, piece: Piece, *, now: datetime) -> bool:
    """Write the piece down; False when another did meanwhile, and then nothing is written. Needs Role.ENGINE."""
    if not await privacy.piece_append(conn, claimed, piece.data, piece.state, now=now):
        return False
    if piece.state.done:
        await privacy.export_finish(
            conn, export_id=claimed.id, now=now, expires_at=now + timedelta(days=EXPORT_DAYS_MAX)
        )
    return True


async def give_up(conn: Connection, *, now: datetime) -> Sequence[UUID]:
    """End exports that failed too often; return which. A person must look into the log."""
    error = f"It failed {ATTEMPTS_MAX} times. Ask for another; if that fails as well, tell the operator."
    return await privacy.exports_give_up(conn, now=now, error=error)


def _compose(claimed: ClaimedExport, page: RowPage | None) -> Piece:
    state = _state_of(claimed)
    writer = ZipWriter(state.zip, modified=claimed.created_at)
    if state.zip == ZipState():
        _write_about(writer, claimed)
    if page is None:
        writer.finish()
        after = msgspec.structs.replace(state, done=True)
    elif page.last_key is None:
        after = _end_file(writer, state)
    else:
        after = _write_page(writer, state, FILES[state.file], page)
    data, zip_state = writer.take()
    return Piece(data=data, state=msgspec.structs.replace(after, zip=zip_state))


def _write_about(writer: ZipWriter, claimed: ClaimedExport) -> None:
    about = About(
        export_id=claimed.id, account_id=claimed.account_id, user_id=claimed.user_id, instant=claimed.created_at
    )
    writer.begin(ABOUT)
    writer.write(msgspec.json.format(msgspec.json.encode(about)) + b"\n")
    writer.end()


def _write_page(writer: ZipWriter, state: ExportState, file: ExportFile, page: RowPage) -> ExportState:
    part = state.part
    for row in page.rows:
        if writer.member is None:
            writer.begin(file_name(file.name, part))
            writer.write(b"[\n" + row)
        else:
            writer.write(b",\n" + row)
        if writer.member_bytes >= MEMBER_BYTES_MAX:
            writer.write(b"\n]\n")
            writer.end()
            part += 1
    return msgspec.structs.replace(state, part=part, after=page.last_key, rows=state.rows + len(page.rows))


def _end_file(writer: ZipWriter, state: ExportState) -> ExportState:
    """End the file at hand, an empty list where there were no rows, and turn to the next."""
    if writer.member is not None:
        writer.write(b"\n]\n")
        writer.end()
    elif state.rows == 0:
        writer.begin(file_name(FILES[state.file].name, 1))
        writer.write(b"[]\n")
        writer.end()
    return msgspec.structs.replace(state, file=state.file + 1, part=1, after=None, rows=0)


def _state_of(claimed: ClaimedExport) -> ExportState:
    assert claimed.state is not None, "claim_export begins it"
    return claimed.state
