"""What the operator's monthly runs share: which month is meant, who sends, and a run followed until it is finished."""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Any, Final, Protocol, TypeVar

import click

from domain.environment import Reader, SettingsError
from domain.model.invoicing import is_over, last_month
from domain.model.usage import parse_month
from domain.settings import StripeSettings
from domain.store.connection import ANY_PLANS, Pool, Role, StoreError, open_pool, transaction
from domain.store.schedule import clock
from gateways.stripe.client import StripeGateway
from scheduler.outbox.loop import Outbox
from spell.exits import EXIT_USAGE, CommandError
from spell.screen import progress, say

CONNECTIONS_MAX: Final = 6
STATEMENT_TIMEOUT_MS: Final = 60_000
# A request to Stripe takes some hundred milliseconds; with nothing moving for so long somebody else is waited for.
STILL_SECONDS_MAX: Final = 20.0
PAUSE_S: Final = 0.3
ACCOUNTS_SHOWN_MAX: Final = 1_000


class Finishing(Protocol):
    """A run, as far as this module knows it."""

    @property
    def finished_at(self) -> datetime | None:
        """None: it is under way."""


Run = TypeVar("Run", bound=Finishing)
Summary = TypeVar("Summary")
Report = TypeVar("Report")


def month_named(period: str | None) -> date | None:
    """Return the month that the command line names, if it names one. Raises click.UsageError."""
    month = None if period is None else parse_month(period)
    if period is not None and month is None:
        message = f"{period!r} is no month; write it like 2026-10"
        raise click.UsageError(message)
    return month


def reported(work: Coroutine[Any, Any, Report]) -> Report:
    """Do the command's work. Raises CommandError where the database does not."""
    try:
        return asyncio.run(work)
    except StoreError as error:
        message = f"the database did not do it: {error}; run the same command again, it goes on where it stopped"
        raise CommandError(message) from error


@asynccontextmanager
async def opened(url: str, month: date | None) -> AsyncGenerator[tuple[Pool, date, datetime]]:
    """Connect; give the pool, the month that is meant, by default the last one, and the time. Raises CommandError."""
    async with open_pool(
        url, role=Role.ENGINE, size_max=CONNECTIONS_MAX, statement_timeout_ms=STATEMENT_TIMEOUT_MS, plans=ANY_PLANS
    ) as pool:
        now = await instant(pool)
        period = month or last_month(now)
        if not is_over(period, now):
            message = f"{period:%Y-%m} is not over; name a month that is"
            raise CommandError(message, exit_code=EXIT_USAGE)
        yield pool, period, now


def stripe_settings() -> StripeSettings | None:
    """Return what the environment says of Stripe; None where its keys are not set. Raises CommandError."""
    reader = Reader(os.environ)
    settings = StripeSettings.read(reader)
    try:
        reader.raise_problems()
    except SettingsError as error:
        raise CommandError(str(error), exit_code=EXIT_USAGE) from error
    return settings


@asynccontextmanager
async def sending(pool: Pool, settings: StripeSettings | None) -> AsyncGenerator[Outbox | None]:
    """Give what sends the frozen rows from here; None where the scheduler does, which is said."""
    if settings is None:
        say("STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET are not set here: the scheduler sends what is frozen.")
        yield None
        return
    async with StripeGateway(settings) as stripe:
        yield Outbox(pool, stripe)


async def follow(
    step: Callable[[], Awaitable[tuple[Run, Summary, int]]],
    title: str,
    *,
    done: Callable[[Summary], tuple[int, int]],
    shows: bool,
) -> tuple[Run, Summary]:
    """Do `step`, beside whoever else does the run, until it is finished or nothing moves any more.

    A step returns the run, its summary, and how much it did; `done` says how many of how many are through.
    """
    clock_s = asyncio.get_running_loop().time
    with progress(enabled=shows) as bar:
        task = bar.add_task(title, total=None)
        before, still_since_s = None, clock_s()
        while True:
            found, summary, worked = await step()
            if summary != before:
                before, still_since_s = summary, clock_s()
                completed, total = done(summary)
                bar.update(task, total=total, completed=completed)
            if found.finished_at is not None or clock_s() - still_since_s > STILL_SECONDS_MAX:
                return found, summary
            if not worked:
                await asyncio.sleep(PAUSE_S)


async def instant(pool: Pool) -> datetime:
    """Return Postgres' clock, in UTC."""
    async with transaction(pool) as connection:
        return (await clock(connection)).astimezone(UTC)
