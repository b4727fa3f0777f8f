"""A session with Postgres, and what it remembers beside psycopg's own."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.adapt import Transformer
from psycopg.rows import tuple_row

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult
    from psycopg.rows import AsyncRowFactory

type_row = tuple[Any, ...]  # rows are typed by the store function that reads them


class Connection(psycopg.AsyncConnection[type_row]):
    """psycopg's connection; `domain.store.exchange` keeps its place in it."""

    def __init__(self, pgconn: "PGconn", row_factory: "AsyncRowFactory[type_row]" = tuple_row) -> None:
        super().__init__(pgconn, row_factory)
        self.prepared: Final[set[bytes]] = set()
        """The statements the server knows by name."""
        self.kept: list[tuple[bytes, Mapping[str, Any]]] | None = None
        """In a brief transaction: what leaves with its COMMIT. None in any other."""
        self.asked_last: tuple[bytes, Mapping[str, Any], Callable[[PGresult], None]] | None = None
        """What leaves behind that, and who gets its result."""
        self.reader: Final = Transformer(self)

    @property
    def is_brief(self) -> bool:
        """Whether this is a brief transaction, whose last statements leave with its COMMIT."""
        return self.kept is not None

    async def rollback(self) -> None:
        """Roll back as psycopg does, which then often, not always, had the server forget all statements: now it has."""
        await super().rollback()
        if self.prepared:
            await self.execute(b"DEALLOCATE ALL", prepare=False)
            self.prepared.clear()
