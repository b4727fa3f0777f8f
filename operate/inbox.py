"""`spell inbox`: events of Stripe that failed too often, on the operator's database: look, have them tried again."""

import asyncio
from typing import Final

import click
from rich_click import RichCommand, RichGroup

from domain.store import stripe_events as store
from domain.store.connection import Role, StoreError, open_pool, transaction
from domain.store.stripe_events import ParkedEvent
from operate.users import database_url
from spell.exits import CommandError
from spell.screen import Column, print_json, print_rows, when

SHOWN_MAX: Final = 1_000
_COLUMNS: Final = (
    Column(title="event"),
    Column(title="type"),
    Column(title="object", importance=1),
    Column(title="came", importance=2),
    Column(title="why", shrinks=True),
)


@click.group(cls=RichGroup)
def inbox() -> None:
    """List Stripe's events that could not be applied, and have them tried again. Works on DATABASE_URL."""


@inbox.command(name="list", cls=RichCommand)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(*, as_json: bool) -> None:
    """List the parked events, oldest first."""
    found = asyncio.run(_parked(database_url()))
    if as_json:
        print_json(found)
        return
    rows = [(one.id, one.type, one.object_id or "-", when(one.received_at), one.trouble or "-") for one in found]
    print_rows(_COLUMNS, rows, empty="Nothing is parked.")


@inbox.command(cls=RichCommand)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("events", nargs=-1, metavar="[EVENT]...")
def retry(*, as_json: bool, events: tuple[str, ...]) -> None:
    """Have the scheduler try parked EVENTs again, or all of them where none is named."""
    count = asyncio.run(_unpark(database_url(), list(events) or None))
    if as_json:
        print_json({"retried": count})
    else:
        click.echo(f"{count} events are tried again")


async def _parked(url: str) -> list[ParkedEvent]:
    try:
        async with open_pool(url, role=Role.ENGINE, size_max=1) as pool, transaction(pool) as connection:
            return await store.events_parked(connection, limit=SHOWN_MAX)
    except StoreError as error:
        raise CommandError(str(error)) from error


async def _unpark(url: str, events: list[str] | None) -> int:
    try:
        async with open_pool(url, role=Role.ENGINE, size_max=1) as pool, transaction(pool) as connection:
            return await store.events_unpark(connection, ids=events)
    except StoreError as error:
        raise CommandError(str(error)) from error
