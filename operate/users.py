"""`spell users`: people who may use this platform, made by its operator."""

import asyncio
import os
from datetime import UTC, datetime
from typing import cast
from uuid import uuid4

import click
import msgspec
from rich_click import RichCommand, RichGroup

from domain.flow.create_user import Billing, CreatedUser, Plan, create_user
from domain.flow.set_account_price import AgreedPrice, set_account_price
from domain.flow.set_data_days import set_data_days
from domain.model.audit import OPERATOR
from domain.model.errors import RefusedError
from domain.model.pricing import Price
from domain.model.retention import DATA_DAYS_MAX
from domain.price_settings import MICROS_MAX
from domain.settings import MigrationSettings, SettingsError, load
from domain.store.connection import Role, StoreError, open_pool, transaction
from spell.cli import EXIT_USAGE, CommandError


@click.group(cls=RichGroup)
def users() -> None:
    """Make the people who may use this platform, and set what their accounts may."""


@users.command(cls=RichCommand)
@click.option("--handle", required=True, help="Their name in owner/name: lower case letters, digits, hyphens.")
@click.option("--email", help="Where mail about budgets and invoices goes.")
@click.option("--plan", type=click.Choice(("free", "pro", "enterprise")), default="free", show_default=True)
@click.option(
    "--billing",
    type=click.Choice(("auto", "on", "off")),
    default="auto",
    show_default=True,
    help="off: never billed; on: metered casts need a subscription; auto: off while there are no Stripe keys.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def create(*, handle: str, email: str | None, plan: str, billing: str, as_json: bool) -> None:
    """Make a user with an account. The same handle and address again change nothing."""
    created = asyncio.run(
        _create(database_url(), handle, email, plan=cast("Plan", plan), billing=cast("Billing", billing))
    )
    if as_json:
        click.echo(msgspec.json.encode(created).decode())
        return
    verb = "made" if created.made else "was there already"
    click.echo(
        f"{created.account.handle} ({created.account.id}) {verb}; make a key: spell keys create --handle {handle}"
    )


@users.command(name="set", cls=RichCommand)
@click.option("--handle", required=True, help="Whose account.")
@click.option(
    "--data-days",
    type=click.IntRange(0, DATA_DAYS_MAX),
    required=True,
    help="How long inputs, outputs and logs of casts are kept from now on; 0: until first read.",
)
def set_(*, handle: str, data_days: int) -> None:
    """Change a user's account. Casts that have ended keep what their answers named."""
    asyncio.run(_set_data_days(database_url(), handle, data_days))
    kept = f"{data_days} days" if data_days else "until first read, for a day at most"
    click.echo(f"{handle}: data of casts is kept {kept}")


@users.command(cls=RichCommand)
@click.option("--handle", required=True, help="Whose account.")
@click.option("--per-cast-micros", type=click.IntRange(0, MICROS_MAX), help="What a cast costs, in 10^-6 dollars.")
@click.option("--per-gfuel-micros", type=click.IntRange(0, MICROS_MAX), help="What 10^9 fuel cost.")
@click.option("--standard", is_flag=True, help="Back to the price of everybody.")
def price(*, handle: str, per_cast_micros: int | None, per_gfuel_micros: int | None, standard: bool) -> None:
    """Agree on prices of its own with an account, which is on plan enterprise from then on."""
    agreed = None
    if not standard:
        if per_cast_micros is None or per_gfuel_micros is None:
            message = "say both prices, --per-cast-micros and --per-gfuel-micros, or --standard"
            raise click.UsageError(message)
        agreed = AgreedPrice(per_cast_micros=per_cast_micros, per_gfuel_micros=per_gfuel_micros)
    paid = asyncio.run(_set_price(database_url(), handle, agreed))
    click.echo(
        f"{handle} pays {paid.per_cast_micros} micros a cast and {paid.per_gfuel_micros} for 10^9 fuel"
        f" (version {paid.version} of the price book)"
    )


async def _set_price(url: str, handle: str, agreed: AgreedPrice | None) -> Price:
    try:
        async with open_pool(url, role=Role.ENGINE, size_max=1) as pool, transaction(pool) as connection:
            return await set_account_price(
                connection, handle=handle, agreed=agreed, actor=OPERATOR, now=datetime.now(UTC)
            )
    except (RefusedError, StoreError) as error:
        raise CommandError(str(error)) from error


async def _set_data_days(url: str, handle: str, data_days: int) -> None:
    try:
        async with open_pool(url, role=Role.ENGINE, size_max=1) as pool, transaction(pool) as connection:
            await set_data_days(connection, handle=handle, data_days=data_days, actor=OPERATOR, now=datetime.now(UTC))
    except (RefusedError, StoreError) as error:
        raise CommandError(str(error)) from error


async def _create(url: str, handle: str, email: str | None, *, plan: Plan, billing: Billing) -> CreatedUser:
    try:
        async with open_pool(url, role=Role.ENGINE, size_max=1) as pool, transaction(pool) as connection:
            return await create_user(
                connection,
                user_id=uuid4(),
                account_id=uuid4(),
                handle=handle,
                email=email,
                plan=plan,
                billing=billing,
                actor=OPERATOR,
                now=datetime.now(UTC),
            )
    except (RefusedError, StoreError) as error:
        raise CommandError(str(error)) from error


def database_url() -> str:
    """Return the owner's database of the environment. Raises CommandError that names what is missing."""
    try:
        return load(MigrationSettings, os.environ).migrations_database_url.reveal()
    except SettingsError as error:
        raise CommandError(str(error), exit_code=EXIT_USAGE) from error
