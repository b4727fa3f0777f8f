"""`spell credits grant`, `refund`, `stripe`: the operator's, beside the user's, on DATABASE_URL, for any account."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID, uuid4

import click
from rich_click import RichCommand, RichGroup

from domain.environment import Reader, SettingsError
from domain.flow.create_user import ensure_platform_account
from domain.flow.grant_credits import grant_credits
from domain.flow.refund_order import refund_order
from domain.flow.set_package_price import set_package_price
from domain.model.audit import OPERATOR
from domain.model.credits import PRIORITY_GIVEN, PRIORITY_MAX, Package
from domain.model.errors import Code, RefusedError, refuse
from domain.price_settings import read_credit_micros
from domain.store.connection import Connection, Role, StoreError, open_pool, transaction
from domain.store.credit_grants import NewGrant
from domain.store.identity import account_by_handle
from operate.users import database_url
from spell.commands.credits import credits as user_credits
from spell.exits import EXIT_USAGE, CommandError
from spell.screen import dollars, print_facts, print_json

Result = TypeVar("Result")
# Ten years: what lasts longer does not expire.
EXPIRES_DAYS_MAX: Final = 3_650


@click.command(cls=RichCommand)
@click.option("--handle", required=True, help="Whose account.")
@click.option("--credits", "amount", type=click.IntRange(min=1), required=True, help="How many.")
@click.option("--reason", default="", help="What for; its owner sees it in the history.")
@click.option("--expires-days", type=click.IntRange(1, EXPIRES_DAYS_MAX), help="They are gone after so many days.")
@click.option(
    "--priority",
    type=click.IntRange(0, PRIORITY_MAX),
    default=PRIORITY_GIVEN,
    show_default=True,
    help="The lowest number is used up first; bought credits have 100.",
)
@click.option("--id", "grant_id", type=click.UUID, help="Of the grant: the same again gives nothing more.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def grant(
    *,
    handle: str,
    amount: int,
    reason: str,
    expires_days: int | None,
    priority: int,
    grant_id: UUID | None,
    as_json: bool,
) -> None:
    """Give an account credits for nothing."""
    now = datetime.now(UTC)
    expires_at = None if expires_days is None else now + timedelta(days=expires_days)
    micros = amount * _credit_micros()

    async def work(connection: Connection) -> object:
        account = await account_by_handle(connection, handle=handle)
        if account is None:
            raise refuse(Code.NOT_FOUND, f"there is no '{handle}'; make it: spell users create --handle {handle}")
        wanted = NewGrant(
            id=grant_id or uuid4(),
            account_id=account.id,
            micros=micros,
            priority=priority,
            expires_at=expires_at,
            reason=reason,
        )
        return await grant_credits(connection, wanted, actor=OPERATOR, now=now)

    given = _run(work)
    if as_json:
        print_json(given)
    else:
        print_facts([("given", f"{amount:,} credits to {handle}"), ("worth", dollars(micros))])


@click.command(cls=RichCommand)
@click.option("--credits", "amount", type=click.IntRange(min=1), help="At most so many. Default: all that are unused.")
@click.option("--id", "refund_id", type=click.UUID, help="Of the refund: the same again refunds nothing more.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.argument("order_id", type=click.UUID, metavar="ORDER")
def refund(*, amount: int | None, refund_id: UUID | None, as_json: bool, order_id: UUID) -> None:
    """Give back what unused credits of ORDER cost, in whole cents. The scheduler asks Stripe for it."""
    most = None if amount is None else amount * _credit_micros()

    async def work(connection: Connection) -> tuple[int, int, object]:
        taken = await refund_order(
            connection,
            order_id=order_id,
            refund_id=refund_id or uuid4(),
            credits_micros=most,
            actor=OPERATOR,
            now=datetime.now(UTC),
        )
        return taken.money_micros, taken.credits_micros, taken

    money, taken, row = _run(work)
    if as_json:
        print_json(row)
    else:
        print_facts([("goes back", dollars(money)), ("credits taken", dollars(taken))])


@click.command(cls=RichCommand)
@click.option("--price", "stripe_price", metavar="PRICE", help="Stripe's id of it; it must cost as much.")
@click.option("--no-price", is_flag=True, help="Have the checkout name the amount itself, as it does at first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.argument("package_id", metavar="PACKAGE")
def stripe(*, stripe_price: str | None, no_price: bool, as_json: bool, package_id: str) -> None:
    """Sell PACKAGE under a price you made at Stripe, for its reports and taxes."""
    if (stripe_price is None) != no_price:
        message = "say which: --price price_..., or --no-price"
        raise click.UsageError(message)
    now = datetime.now(UTC)

    async def work(connection: Connection) -> Package:
        platform = await ensure_platform_account(connection, account_id=uuid4(), now=now)
        return await set_package_price(
            connection,
            package_id=package_id,
            stripe_price=stripe_price,
            account_id=platform.id,
            actor=OPERATOR,
            now=now,
        )

    changed = _run(work)
    if as_json:
        print_json(changed)
    else:
        print_facts([("package", changed.id), ("price at Stripe", changed.stripe_price or "none")])


def _credit_micros() -> int:
    reader = Reader(os.environ)
    found = read_credit_micros(reader)
    try:
        reader.raise_problems()
    except SettingsError as error:
        raise CommandError(str(error), exit_code=EXIT_USAGE) from error
    return found


def _run(work: Callable[[Connection], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        async with open_pool(database_url(), role=Role.ENGINE, size_max=1) as pool, transaction(pool) as connection:
            return await work(connection)

    try:
        return asyncio.run(run())
    except (RefusedError, StoreError) as error:
        raise CommandError(str(error)) from error


def _group() -> click.Group:
    group = RichGroup(name="credits", help=user_credits.help)
    for name, command in user_credits.commands.items():
        group.add_command(command, name)
    group.add_command(grant)
    group.add_command(refund)
    group.add_command(stripe)
    return group


credits: Final = _group()  # noqa: A001  # the command's own name
