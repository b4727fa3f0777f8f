"""A list of the API: how each of its pages is asked for."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from spell.core.exchange import Reply, Request
from spell.core.operation import Operation, decoded
from spell.models.page import Page

T = TypeVar("T")

# The most a page can have: fewer requests for whoever reads all of it.
PAGE_SIZE_MAX = 100


class Listing(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """All rows that fit, newest first, a page at a time."""

    path: str
    query: tuple[tuple[str, str], ...]
    decode: Callable[[Reply], Page[T]]

    def page(self, cursor: str | None) -> Operation[Page[T]]:
        """Return the operation that gets the page at `cursor`; None is the first."""
        query = self.query if cursor is None else (*self.query, ("cursor", cursor))
        return Operation(request=Request(method="GET", path=self.path, query=query), decode=self.decode)


def listing(path: str, kind: type[T], query: tuple[tuple[str, str], ...]) -> Listing[T]:
    """Return the list of `kind` at `path`."""
    page: Any = Page[kind]  # a type made at run time, which no checker can follow
    return Listing(path=path, query=query, decode=decoded(page))
