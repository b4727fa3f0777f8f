"""A page of a list, as it comes."""

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Some rows, newest first. `next_cursor` leads to the older ones; None on the last page."""

    data: tuple[T, ...]
    next_cursor: str | None = None
    has_more: bool = False
