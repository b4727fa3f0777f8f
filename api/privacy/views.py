"""An export as its owner sees it."""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.store.privacy import Export, ExportStatus


class ExportView(msgspec.Struct, frozen=True, kw_only=True):
    """One export of all of an account's data."""

    id: UUID
    status: ExportStatus
    """`pending`, `running`, then `ready` or `failed`; `expired` once its time is over."""
    progress_percent: int
    created_at: datetime
    """Rows made later are not in it."""
    finished_at: datetime | None
    expires_at: datetime | None
    """The archive can be downloaded until then."""
    size_bytes: int | None
    """Of the whole archive; null until it is ready."""
    download_url: str | None
    """A zip of JSON files; null unless it is ready."""
    error: str | None


def export_view(export: Export, *, public_url: str, now: datetime) -> ExportView:
    """Render an export; one whose time is over is shown as expired at that very moment."""
    over = export.status == "ready" and export.expires_at is not None and export.expires_at <= now
    ready = export.status == "ready" and not over
    return ExportView(
        id=export.id,
        status="expired" if over else export.status,
        progress_percent=export.progress_percent,
        created_at=export.created_at,
        finished_at=export.finished_at,
        expires_at=export.expires_at,
        size_bytes=export.size_bytes if ready else None,
        download_url=f"{public_url}/v1/privacy/export/{export.id}/download" if ready else None,
        error=export.error,
    )
