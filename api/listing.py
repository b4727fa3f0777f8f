"""Lists: a page of newest-first rows, an opaque cursor to the next, and the Link header that says the same."""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from api.errors import invalid
from domain.model.errors import Fault, RefusedError

LIMIT_DEFAULT: Final = 20
LIMIT_MAX: Final = 100
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

Row = TypeVar("Row")


def cursor_of(instant: datetime, identifier: UUID) -> str:
    """Return the opaque text for "older than this row"."""
    micros = (instant - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(micros.to_bytes(8, "big") + identifier.bytes).decode("ascii")


def parse_cursor(text: str | None) -> tuple[datetime, UUID] | None:
    """Return the row a cursor points at. Raises RefusedError (validation) for a text that is none of ours."""
    if text is None:
        return None
    try:
        raw = base64.b64decode(text, altchars=b"-_", validate=True)
        instant = _EPOCH + int.from_bytes(raw[:8], "big") * _MICROSECOND
        return instant, UUID(bytes=raw[8:])
    except (binascii.Error, ValueError, OverflowError) as error:
        fault = Fault(location="cursor", message="this is no cursor", fix="Send next_cursor as it was given.")
        raise RefusedError(invalid([fault])) from error


def page_of(
    rows: Sequence[Row], limit: int, key: Callable[[Row], tuple[datetime, UUID]]
) -> tuple[Sequence[Row], str | None]:
    """Split the `limit + 1` rows that were asked for into the page and the cursor to the next, if there is one."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], cursor_of(*key(rows[limit - 1]))


def link_headers(path: str, query: dict[str, str | int | None], next_cursor: str | None) -> dict[str, str]:
    """Return the Link header to the next page; empty on the last."""
    if next_cursor is None:
        return {}
    wanted = {name: value for name, value in query.items() if value is not None}
    return {"link": f'<{path}?{urlencode({**wanted, "cursor": next_cursor})}>; rel="next"'}
