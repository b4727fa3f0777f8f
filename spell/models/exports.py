"""An export of all of an account's data, and its erasure."""

from datetime import datetime

import msgspec


class DataExport(msgspec.Struct, frozen=True, kw_only=True):
    """How far an export is."""

    id: str
    status: str
    """`pending`, `running`, then `ready` or `failed`; `expired` once its week is over."""
    progress_percent: int
    created_at: datetime
    """What was made later is not in it."""
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    """It can be downloaded until then."""
    size_bytes: int | None = None
    """None until it is ready."""
    download_url: str | None = None
    """None unless it is ready."""
    error: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing more is done for it."""
        return self.status not in {"pending", "running"}


class ErasedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account that is a pseudonym from now on. The rest goes in the background; nobody can look any more."""

    account_id: str
    handle: str
    status: str
