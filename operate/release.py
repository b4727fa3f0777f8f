"""`spell release`: what a deploy does once, before the new version takes traffic. Each step may run twice.

Migrations first; then the list STEPS, each step in a transaction of its own, as `spell_engine`.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import click
from rich_click import RichCommand

from api.spells.publishing import Publisher, signer_of
from domain.flow.create_user import ensure_platform_account
from domain.flow.price_book import set_prices
from domain.model.audit import OPERATOR
from domain.model.errors import RefusedError
from domain.model.periods import month_of
from domain.settings import ReleaseSettings, SettingsError, load
from domain.store.connection import Connection, Pool, Role, StoreError, open_pool, transaction
from domain.store.schedule import ensure_partitions
from gateways.compiler import Compiler
from migrations.files import MigrationError
from migrations.runner import migrate
from operate.modules import publish_folder, recompile
from spell.cli import EXIT_USAGE, CommandError

# The creator gets the rest, so rounding is never to the creator's loss.
PLATFORM_SHARE_PERCENT: Final = 20
# The month that runs and three ahead: `/readyz` fails when the next one is missing.
PARTITION_MONTHS: Final = 4

Step = Callable[[Connection, ReleaseSettings, datetime], Awaitable[str]]


async def write_prices(connection: Connection, settings: ReleaseSettings, now: datetime) -> str:
    """Put the prices of the settings into force: a new version of the price book when they differ from the latest."""
    platform = await ensure_platform_account(connection, account_id=uuid4(), now=now)
    price = await set_prices(
        connection,
        account_id=platform.id,
        per_cast_micros=settings.prices.per_cast_micros,
        per_gfuel_micros=settings.prices.per_gfuel_micros,
        platform_share_percent=PLATFORM_SHARE_PERCENT,
        actor=OPERATOR,
        now=now,
    )
    return (
        f"prices: version {price.version}, {price.per_cast_micros} micros a cast "
        f"and {price.per_gfuel_micros} per 10^9 fuel"
    )


async def make_partitions(connection: Connection, settings: ReleaseSettings, now: datetime) -> str:
    """Make the partitions of this month and the next three, so that a platform without a scheduler starts too."""
    del settings
    made = await ensure_partitions(connection, first_month=month_of(now), months=PARTITION_MONTHS)
    return f"partitions: {made} made" if made else "partitions: all there"


STEPS: Final[tuple[Step, ...]] = (write_prices, make_partitions)


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
        await _prepare_modules(pool, settings, now=now, report=report)


async def _prepare_modules(
    pool: Pool, settings: ReleaseSettings, *, now: datetime, report: Callable[[str], None]
) -> None:
    """Compile what the engine of this version has no artifact of, then publish the operator's folder of modules.

    Outside of any transaction: compiling takes seconds. What cannot be compiled is reported and stops nothing.
    """
    publisher = Publisher(
        pool,
        compiler=Compiler(jail="auto"),
        signer=signer_of(settings.artifact_signing_key.reveal()),
        now=lambda: now,
    )
    try:
        compiled = await recompile(pool, publisher, report=report)
        made = await publish_folder(pool, publisher, Path(settings.wasm_module_path), now=now, report=report)
    except RefusedError as error:
        report(f"warning: modules: {error.refusal.detail}")
    else:
        report(f"modules: {compiled} compiled for this engine, {made} new versions from {settings.wasm_module_path}")


@click.command(cls=RichCommand)
def release() -> None:
    """Run what a deploy needs once: migrations, then the price book. Its last line is a setting of the workers."""
    try:
        settings = load(ReleaseSettings, os.environ)
        asyncio.run(run(settings, now=datetime.now(UTC), report=click.echo))
        # The public half, so no secret; nothing else that an operator has at hand computes it.
        click.echo(f"ARTIFACT_VERIFY_KEY={signer_of(settings.artifact_signing_key.reveal()).verify_key}")
    except SettingsError as error:
        raise CommandError(str(error), exit_code=EXIT_USAGE) from error
    except (MigrationError, StoreError) as error:
        raise CommandError(str(error)) from error
