"""`spell release`: what a deploy does once, before the new version takes traffic. Each step may run twice.

Migrations first; then the list STEPS, each step in a transaction of its own, as `spell_engine`.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import click
from rich_click import RichCommand

from domain.flow.price_book import set_prices
from domain.settings import ReleaseSettings, SettingsError, load
from domain.store.connection import Connection, Role, StoreError, open_pool, transaction
from migrations.files import MigrationError
from migrations.runner import migrate
from spell.cli import EXIT_USAGE, CommandError

# The creator gets the rest, so rounding is never to the creator's loss.
PLATFORM_SHARE_PERCENT: Final = 20

Step = Callable[[Connection, ReleaseSettings, datetime], Awaitable[str]]


async def write_prices(connection: Connection, settings: ReleaseSettings, now: datetime) -> str:
    """Put the prices of the settings into force: a new version of the price book when they differ from the latest."""
    price = await set_prices(
        connection,
        per_cast_micros=settings.prices.per_cast_micros,
        per_gfuel_micros=settings.prices.per_gfuel_micros,
        platform_share_percent=PLATFORM_SHARE_PERCENT,
        now=now,
    )
    return (
        f"prices: version {price.version}, {price.per_cast_micros} micros a cast "
        f"and {price.per_gfuel_micros} per 10^9 fuel"
    )


STEPS: Final[tuple[Step, ...]] = (write_prices,)


async def run(settings: ReleaseSettings, *, now: datetime, report: Callable[[str], None]) -> None:
    """Migrate, then run every step. Raises MigrationError or StoreError; what was done before stays done."""
    url = settings.migrations_database_url.reveal()
    applied = await migrate(url, report=report)
    report(f"migrations: {len(applied)} applied" if applied else "migrations: the schema is current")
    async with open_pool(url, role=Role.ENGINE, size_max=1) as pool:
        for step in STEPS:
            async with transaction(pool) as connection:
                line = await step(connection, settings, now)
            report(line)


@click.command(cls=RichCommand)
def release() -> None:
    """Run what a deploy needs once: migrations, then the price book."""
    try:
        asyncio.run(run(load(ReleaseSettings, os.environ), now=datetime.now(UTC), report=click.echo))
    except SettingsError as error:
        raise CommandError(str(error), exit_code=EXIT_USAGE) from error
    except (MigrationError, StoreError) as error:
        raise CommandError(str(error)) from error
