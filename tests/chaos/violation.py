"""What the checker finds."""

from uuid import UUID

import msgspec


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that does not hold, and where to look."""

    rule: str
    detail: str = ""
    account_id: UUID | None = None
    cast_id: UUID | None = None
    call: int | None = None
    at: float | None = None
    """By our clock."""
