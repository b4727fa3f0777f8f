"""Reads casts for those who ask: one query for all who ask in one tick, and names of versions from memory."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from api.auth import Principal
from api.coalesce import Coalesced
from domain.flow.drop_data import drop_read
from domain.model.cast_view import CastRow, CastView, VersionName, view_of_row
from domain.model.errors import Code, refuse
from domain.model.modes import Mode
from domain.store.casts import casts_by_id, version_names
from domain.store.connection import Pool, StoreError, statement, transaction

_logger: Final = logging.getLogger(__name__)
ROWS_PER_QUESTION_MAX: Final = 200
# A name is a few hundred bytes. Versions never change, so what is remembered stays right.
NAMES_MAX: Final = 10_000


class CastReader:
    """Reads for the whole process; `casts_url` is the address all casts are under."""

    def __init__(self, engine_pool: Pool, *, casts_url: str) -> None:
        self._pool = engine_pool
        self.casts_url = casts_url
        self._rows: Coalesced[UUID, CastRow] = Coalesced(self._read, keys_max=ROWS_PER_QUESTION_MAX)
        self._drops: Coalesced[UUID, None] = Coalesced(self._drop, keys_max=ROWS_PER_QUESTION_MAX)
        self._names: OrderedDict[UUID, VersionName] = OrderedDict()

    async def row(self, cast_id: UUID, principal: Principal) -> CastRow:
        """Return the cast as it is now. RefusedError (404) when there is none, or none that the principal may see.

        Those are its account's; a test key sees what test keys made.
        """
        row = await self._rows.get(cast_id)
        if row is None or row.account_id != principal.account_id or (principal.test and row.mode is Mode.LIVE):
            raise refuse(Code.NOT_FOUND, "There is no such cast.")
        return row

    async def views(self, rows: Sequence[CastRow], *, listed: bool = False) -> list[CastView]:
        """Return what callers see of `rows`; data that was kept until its first reading is gone then.

        `listed`: the rows were read without such data, so this is no reading of it.
        """
        missing = {row.version_id for row in rows} - self._names.keys()
        names: dict[UUID, VersionName] = {}
        if missing:
            async with statement(self._pool) as connection:
                names = await version_names(connection, ids=sorted(missing))
        for version_id, name in names.items():
            self.learn(version_id, name)
        once = [row.id for row in rows if row.data_once and not row.data_expired]
        if once and not listed:
            await self._forget(once)
        return [
            view_of_row(row, names.get(row.version_id) or self._names[row.version_id], casts_url=self.casts_url)
            for row in rows
        ]

    async def _forget(self, ids: Sequence[UUID]) -> None:
        """Drop the data of casts whose result is about to be shown.

        A database that does not answer now is no reason to keep the caller from a result it paid for: what could not
        be dropped goes when it expires, within a day.
        """
        try:
            await asyncio.gather(*(self._drops.get(cast_id) for cast_id in ids))
        except StoreError as error:
            _logger.warning("data that was read is dropped when it expires: %r", error)

    def learn(self, version_id: UUID, name: VersionName) -> None:
        """Remember what a version is called."""
        self._names[version_id] = name
        if len(self._names) > NAMES_MAX:
            self._names.popitem(last=False)

    async def _drop(self, ids: list[UUID]) -> dict[UUID, None]:
        async with transaction(self._pool) as connection:
            await drop_read(connection, ids)
        return {}

    async def _read(self, ids: list[UUID]) -> dict[UUID, CastRow]:
        async with statement(self._pool) as connection:
            return await casts_by_id(connection, ids=ids)
