"""The asynchronous client."""

import asyncio
import copy
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

import httpx

from spell.async_resources import (
    AsyncAccount,
    AsyncBilling,
    AsyncBudgets,
    AsyncCasts,
    AsyncCredits,
    AsyncEarningsReports,
    AsyncHolds,
    AsyncInvoices,
    AsyncKeys,
    AsyncPayouts,
    AsyncSpells,
    AsyncUsageReports,
    AsyncWebhooks,
)
from spell.awaiting import AsyncEvents
from spell.core.event_stream import Following
from spell.core.exchange import Broken, Call, Reply, Request, Send, Sleep
from spell.core.refusals import error_of
from spell.models.casts import Cast, CastEvent
from spell.settings import (
    RETRIES_MAX_DEFAULT,
    TIMEOUT_S_DEFAULT,
    TOTAL_TIMEOUT_S_DEFAULT,
    changed,
    settings_of,
)
from spell.transport import LIMITS, broken_of, reply_of, timeout_of

T = TypeVar("T")


class AsyncClient:
    """The platform, for asynchronous code: one for each event loop. Close it, or use it in an `async with` block.

    The arguments are those of `Client`.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = TIMEOUT_S_DEFAULT,
        total_timeout: float = TOTAL_TIMEOUT_S_DEFAULT,
        retries_max: int = RETRIES_MAX_DEFAULT,
        http_client: httpx.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings_of(
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            total_timeout=total_timeout,
            retries_max=retries_max,
            clock=clock,
            chance=chance,
        )
        self._http = httpx.AsyncClient(limits=LIMITS) if http_client is None else http_client
        self._closes = http_client is None
        self._sleep = sleep
        self._offer()

    def _offer(self) -> None:
        self.account = AsyncAccount(self)
        self.casts = AsyncCasts(self)
        self.spells = AsyncSpells(self)
        self.keys = AsyncKeys(self)
        self.budgets = AsyncBudgets(self)
        self.billing = AsyncBilling(self)
        self.credits = AsyncCredits(self)
        self.holds = AsyncHolds(self)
        self.usage = AsyncUsageReports(self)
        self.earnings = AsyncEarningsReports(self)
        self.invoices = AsyncInvoices(self)
        self.payouts = AsyncPayouts(self)
        self.webhooks = AsyncWebhooks(self)
        self.cast = self.casts.cast

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.aclose()

    def __repr__(self) -> str:
        """Say where it leads; never with the key."""
        return f"AsyncClient(base_url={self._settings.base_url!r})"

    async def aclose(self) -> None:
        """Close the connections."""
        if self._closes:
            await self._http.aclose()

    def with_options(
        self, *, timeout: float | None = None, total_timeout: float | None = None, retries_max: int | None = None
    ) -> "AsyncClient":
        """Return a client over the same connections, with what is given in place of its own."""
        other = copy.copy(self)
        settings = changed(self._settings, timeout=timeout, total_timeout=total_timeout, retries_max=retries_max)
        other._settings, other._closes = settings, False  # noqa: SLF001  # a copy of itself
        other._offer()  # noqa: SLF001  # a copy of itself
        return other

    async def run(self, call: Call[T]) -> T:
        """Do one call, with its retries, and return what it gives. The resources' methods do this."""
        steps = call.steps(self._settings.session)
        outcome: Reply | Broken | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                result: T = done.value
                return result
            outcome = await self._send(step) if isinstance(step, Send) else await self._pause(step)

    async def save(self, request: Request, file: BinaryIO) -> int:
        """Write the answer's body to `file` as it comes, and return its bytes; however long it is, little is in memory.

        SpellError when it is refused or ends early; then `file` has a part of it, and nothing is tried again.
        """
        settings = self._settings
        try:
            async with self._http.stream(
                request.method,
                settings.url(request),
                headers=settings.headers(request),
                timeout=timeout_of(settings.session.timeout_s),
                follow_redirects=False,
            ) as response:
                if response.is_success:
                    return sum([file.write(chunk) async for chunk in response.aiter_bytes()])
                await response.aread()
                raise error_of(reply_of(response))
        except httpx.RequestError as error:
            raise broken_of(error, request).error from error

    def follow(self, cast: Cast | str) -> AsyncEvents:
        """Follow a cast; `casts.events` does this."""
        return AsyncEvents(self._events(cast))

    async def _events(self, cast: Cast | str) -> AsyncGenerator[CastEvent]:
        following = Following(cast, self._settings.session)
        while True:
            outcome: Reply | Broken | None = None
            request = following.connect()
            try:
                async with self._http.stream(
                    request.method,
                    self._settings.url(request),
                    headers=self._settings.headers(request),
                    timeout=timeout_of(following.silence_s_max),
                    follow_redirects=False,
                ) as response:
                    if response.is_success:
                        async for chunk in response.aiter_bytes():
                            for event in following.feed(chunk):
                                yield event
                            if following.done:
                                return
                    else:
                        await response.aread()
                        outcome = reply_of(response)
            except httpx.RequestError as error:
                outcome = broken_of(error, request)
            await self._sleep(following.lost(outcome))

    async def _send(self, step: Send) -> Reply | Broken:
        request = step.request
        try:
            response = await self._http.request(
                request.method,
                self._settings.url(request),
                params=request.query,
                headers=self._settings.headers(request),
                content=request.body,
                timeout=timeout_of(step.timeout_s),
                follow_redirects=False,
            )
        except httpx.RequestError as error:
            return broken_of(error, request)
        return reply_of(response)

    async def _pause(self, step: Sleep) -> None:
        await self._sleep(step.seconds)
