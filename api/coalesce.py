"""Many callers ask for single things; the store is asked once for all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Coalesced(Generic[Key, Value]):
    """Collects what is asked for while a question is under way, and asks for all of it in the next.

    At rest a question starts at once. Two callers with one key share the answer. Errors of `ask` reach every caller
    whose key was in that question.
    """

    def __init__(self, ask: Callable[[list[Key]], Awaitable[Mapping[Key, Value]]], *, keys_max: int) -> None:
        self._ask = ask
        self._keys_max = keys_max
        self._waiting: dict[Key, asyncio.Future[Value | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def get(self, key: Key) -> Value | None:
        """Return the value of `key` as it was read after this call, or None when there is none."""
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
            if self._task is None:
                self._task = asyncio.create_task(self._run())
        return await asyncio.shield(future)

    async def _run(self) -> None:
        await asyncio.sleep(0)  # whoever asks in the same turn of the loop rides along
        while self._waiting:
            keys = list(self._waiting)[: self._keys_max]
            batch = {key: self._waiting.pop(key) for key in keys}
            try:
                values = await self._ask(keys)
            except Exception as error:  # noqa: BLE001  # whatever it is, the callers get it
                for future in batch.values():
                    if not future.done():
                        future.set_exception(error)
                        future.exception()  # a caller may have gone; its error is then nobody's
                continue
            for key, future in batch.items():
                if not future.done():
                    future.set_result(values.get(key))
        self._task = None
