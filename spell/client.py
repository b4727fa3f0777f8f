"""The synchronous client."""

import copy
import random
import time
from collections.abc import Callable, Generator
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

import httpx

from spell.blocking import Events
from spell.core.event_stream import Following
from spell.core.exchange import Broken, Call, Reply, Request, Send, Sleep
from spell.core.refusals import error_of
from spell.models.casts import Cast, CastEvent
from spell.resources import (
    Account,
    Billing,
    Budgets,
    Casts,
    Credits,
    EarningsReports,
    Holds,
    Invoices,
    Keys,
    Payouts,
    Spells,
    UsageReports,
    Webhooks,
)
from spell.settings import (
    RETRIES_MAX_DEFAULT,
    TIMEOUT_S_DEFAULT,
    TOTAL_TIMEOUT_S_DEFAULT,
    changed,
    settings_of,
)
from spell.transport import LIMITS, broken_of, reply_of, timeout_of

T = TypeVar("T")


class Client:
    """The platform, for synchronous code. Safe to share between threads; close it, or use it in a `with` block.

    `api_key` falls back to SPELL_API_KEY, `base_url` to SPELL_URL. `timeout` is how many seconds an answer may be
    silent, `total_timeout` how many seconds a call may take with all its retries (time it asked the platform to wait
    is not counted), `retries_max` how often it is tried again. `http_client` is one of your own, with its proxies and
    certificates; it stays open. `sleep`, `clock` and `chance` are for tests.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = TIMEOUT_S_DEFAULT,
        total_timeout: float = TOTAL_TIMEOUT_S_DEFAULT,
        retries_max: int = RETRIES_MAX_DEFAULT,
        http_client: httpx.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
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
        self._http = httpx.Client(limits=LIMITS) if http_client is None else http_client
        self._closes = http_client is None
        self._sleep = sleep
        self._offer()

    def _offer(self) -> None:
        self.account = Account(self)
        self.casts = Casts(self)
        self.spells = Spells(self)
        self.keys = Keys(self)
        self.budgets = Budgets(self)
        self.billing = Billing(self)
        self.credits = Credits(self)
        self.holds = Holds(self)
        self.usage = UsageReports(self)
        self.earnings = EarningsReports(self)
        self.invoices = Invoices(self)
        self.payouts = Payouts(self)
        self.webhooks = Webhooks(self)
        self.cast = self.casts.cast

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def __repr__(self) -> str:
        """Say where it leads; never with the key."""
        return f"Client(base_url={self._settings.base_url!r})"

    def close(self) -> None:
        """Close the connections."""
        if self._closes:
            self._http.close()

    def with_options(
        self, *, timeout: float | None = None, total_timeout: float | None = None, retries_max: int | None = None
    ) -> "Client":
        """Return a client over the same connections, with what is given in place of its own."""
        other = copy.copy(self)
        settings = changed(self._settings, timeout=timeout, total_timeout=total_timeout, retries_max=retries_max)
        other._settings, other._closes = settings, False  # noqa: SLF001  # a copy of itself
        other._offer()  # noqa: SLF001  # a copy of itself
        return other

    def run(self, call: Call[T]) -> T:
        """Do one call, with its retries, and return what it gives. The resources' methods do this."""
        steps = call.steps(self._settings.session)
        outcome: Reply | Broken | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                result: T = done.value
                return result
            outcome = self._send(step) if isinstance(step, Send) else self._pause(step)

    def save(self, request: Request, file: BinaryIO) -> int:
        """Write the answer's body to `file` as it comes, and return its bytes; however long it is, little is in memory.

        SpellError when it is refused or ends early; then `file` has a part of it, and nothing is tried again.
        """
        settings = self._settings
        try:
            with self._http.stream(
                request.method,
                settings.url(request),
                headers=settings.headers(request),
                timeout=timeout_of(settings.session.timeout_s),
                follow_redirects=False,
            ) as response:
                if response.is_success:
                    return sum(file.write(chunk) for chunk in response.iter_bytes())
                response.read()
                raise error_of(reply_of(response))
        except httpx.RequestError as error:
            raise broken_of(error, request).error from error

    def follow(self, cast: Cast | str) -> Events:
        """Follow a cast; `casts.events` does this."""
        return Events(self._events(cast))

    def _events(self, cast: Cast | str) -> Generator[CastEvent]:
        following = Following(cast, self._settings.session)
        while True:
            outcome: Reply | Broken | None = None
            request = following.connect()
            try:
                with self._http.stream(
                    request.method,
                    self._settings.url(request),
                    headers=self._settings.headers(request),
                    timeout=timeout_of(following.silence_s_max),
                    follow_redirects=False,
                ) as response:
                    if response.is_success:
                        for chunk in response.iter_bytes():
                            yield from following.feed(chunk)
                            if following.done:
                                return
                    else:
                        response.read()
                        outcome = reply_of(response)
            except httpx.RequestError as error:
                outcome = broken_of(error, request)
            self._sleep(following.lost(outcome))

    def _send(self, step: Send) -> Reply | Broken:
        request = step.request
        try:
            response = self._http.request(
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

    def _pause(self, step: Sleep) -> None:
        self._sleep(step.seconds)
