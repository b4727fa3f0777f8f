"""`spell credits`: how many there are, what they cost, buying them, and what became of each."""

import time
from itertools import islice
from typing import Final

import click
from rich_click import RichCommand, RichGroup

from spell.client import Client
from spell.commands.amounts import DOLLARS_TO_CENTS
from spell.commands.browser_login import open_browser
from spell.commands.platform import platform, platform_options, rows_option
from spell.core.listing import PAGE_SIZE_MAX
from spell.exits import EXIT_FAILED, CommandError
from spell.models.credits import AutoTopUp, CreditBalance, CreditOrder
from spell.screen import Cell, Column, dollars, is_terminal, print_facts, print_json, print_rows, say, when

# A person types in a card meanwhile.
POLL_S: Final = 2.0
WAIT_S_DEFAULT: Final = 600
WAIT_S_MAX: Final = 86_400
MICROS_PER_CENT: Final = 10_000
_PACKAGES: Final = (
    Column(title="id"),
    Column(title="name", importance=2),
    Column(title="credits", right=True),
    Column(title="price", right=True),
    Column(title="worth", right=True, importance=1),
)
_HISTORY: Final = (
    Column(title="what"),
    Column(title="amount", right=True),
    Column(title="left", right=True),
    Column(title="for", shrinks=True, importance=1),
    Column(title="when", importance=2),
)
_ORDERS: Final = (
    Column(title="id", importance=2),
    Column(title="package"),
    Column(title="credits", right=True, importance=1),
    Column(title="price", right=True),
    Column(title="status"),
    Column(title="made", importance=3),
)


@click.group(cls=RichGroup)
def credits() -> None:  # noqa: A001  # the command's own name
    """See credits, buy them, and have them bought when they run low."""


@credits.command(cls=RichCommand)
@platform_options
def balance(*, url: str | None, as_json: bool) -> None:
    """Show how many credits there are, and how many of them open casts hold."""
    with platform(url) as client:
        found = client.credits.balance()
    if as_json:
        print_json(found)
        return
    facts: list[tuple[str, Cell]] = [
        ("credits", f"{found.balance:,} ({dollars(found.balance_micros)} of casts)"),
        ("held by open casts", f"{found.held:,}"),
        ("available", f"{found.available:,}"),
        ("bought, given, used", f"{found.total_purchased:,}, {found.total_granted:,}, {found.total_consumed:,}"),
        ("automatic top-up", _top_up(found)),
    ]
    print_facts(facts)


@credits.command(cls=RichCommand)
@platform_options
def packages(*, url: str | None, as_json: bool) -> None:
    """List what is for sale."""
    with platform(url) as client:
        found = client.credits.packages()
    if as_json:
        print_json(found)
        return
    rows = [
        (one.id, one.name, f"{one.credits:,}", dollars(one.price_cents * MICROS_PER_CENT), dollars(one.usage_micros))
        for one in found
    ]
    print_rows(_PACKAGES, rows, empty="Nothing is for sale here.")


@credits.command(cls=RichCommand)
@click.option("--keep-card", is_flag=True, help="Let the card be kept, for automatic top-ups.")
@click.option("--no-wait", is_flag=True, help="Print where to pay, and do not wait for the money.")
@click.option(
    "--wait-seconds",
    type=click.IntRange(1, WAIT_S_MAX),
    default=WAIT_S_DEFAULT,
    show_default=True,
    help="How long to wait.",
)
@platform_options
@click.argument("package")
def buy(*, keep_card: bool, no_wait: bool, wait_seconds: int, url: str | None, as_json: bool, package: str) -> None:
    """Order PACKAGE, open the page to pay it, and wait until its credits are there."""
    with platform(url) as client:
        made = client.credits.checkout(package, save_payment_method=keep_card)
        if made.checkout_url is None:
            message = f"the page to pay order {made.order_id} is over: it is {made.status}; order again"
            raise CommandError(message, exit_code=EXIT_FAILED)
        if no_wait:
            if as_json:
                print_json(made)
            else:
                click.echo(made.checkout_url)
            return
        if not (is_terminal() and open_browser(made.checkout_url)):
            say(f"Pay {dollars(made.package.price_cents * MICROS_PER_CENT)} at {made.checkout_url}")
        order = _paid(client, made.order_id, wait_seconds)
        left = client.credits.balance()
    if as_json:
        print_json({"order": order, "balance": left})
        return
    print_facts([("order", f"{order.id} {order.status}"), ("credits", f"{left.balance:,}")])


@credits.command(cls=RichCommand)
@rows_option
@platform_options
def history(*, rows_max: int, url: str | None, as_json: bool) -> None:
    """List every change of the balance, newest first: what was bought, given, used, taken, and what expired."""
    with platform(url) as client:
        found = list(islice(client.credits.history(page_size=min(rows_max, PAGE_SIZE_MAX)), rows_max))
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one.transaction_type,
            dollars(one.amount_micros) if one.amount_micros >= 0 else f"-{dollars(-one.amount_micros)}",
            dollars(one.balance_after_micros),
            one.reason or _for(one.reference_type, one.reference_id, one.casts),
            when(one.created_at),
        )
        for one in found
    ]
    print_rows(_HISTORY, rows, empty="There were never any credits. Buy some: spell credits packages")


@credits.command(cls=RichCommand)
@rows_option
@platform_options
def orders(*, rows_max: int, url: str | None, as_json: bool) -> None:
    """List the orders of credits, newest first."""
    with platform(url) as client:
        found = list(islice(client.credits.orders(page_size=min(rows_max, PAGE_SIZE_MAX)), rows_max))
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one.id,
            one.package,
            f"{one.credits:,}",
            dollars(one.price_cents * MICROS_PER_CENT),
            one.status,
            when(one.created_at),
        )
        for one in found
    ]
    print_rows(_ORDERS, rows, empty="Nothing was ordered yet: spell credits packages")


@credits.command(name="auto-topup", cls=RichCommand)
@click.option("--package", help="What is bought; see `spell credits packages`.")
@click.option("--below", "threshold", type=click.IntRange(min=1), help="When fewer credits than this are available.")
@click.option("--cap", "cap_cents", type=DOLLARS_TO_CENTS, help="The most dollars a month.")
@click.option("--off", is_flag=True, help="Buy nothing any more.")
@platform_options
def auto_topup(
    *, package: str | None, threshold: int | None, cap_cents: int | None, off: bool, url: str | None, as_json: bool
) -> None:
    """Have a package bought whenever credits run low, or see whether one is. What is not given stays as it is.

    It needs a card that `spell credits buy --keep-card` was let to keep.
    """
    changes = off or package is not None or threshold is not None or cap_cents is not None
    with platform(url) as client:
        known = client.credits.balance().auto_top_up
        if changes:
            known = _set(client, known, package=package, threshold=threshold, cap_cents=cap_cents, off=off)
    if as_json:
        print_json(known)
        return
    print_facts([("automatic top-up", _described(known))])


def _set(
    client: Client,
    known: AutoTopUp | None,
    *,
    package: str | None,
    threshold: int | None,
    cap_cents: int | None,
    off: bool,
) -> AutoTopUp | None:
    if off and known is None:
        return None
    if known is not None:
        package = package or known.package
        threshold = threshold or known.threshold
        cap_cents = cap_cents or known.monthly_cap_cents
    if package is None or threshold is None or cap_cents is None:
        message = "say all of it the first time: --package writer --below 500 --cap 100"
        raise click.UsageError(message)
    return client.credits.set_auto_top_up(
        package=package, threshold=threshold, monthly_cap_cents=cap_cents, enabled=not off
    )


def _paid(client: Client, order_id: str, wait_seconds: int) -> CreditOrder:
    """Wait until the money has come. Raises CommandError when it does not."""
    give_up_at = time.monotonic() + wait_seconds
    while True:
        order = client.credits.order(order_id)
        if order.granted_at is not None:
            return order
        if order.status != "pending":
            message = f"order {order_id} is {order.status}: nothing was paid and nothing bought"
            raise CommandError(message, exit_code=EXIT_FAILED)
        if time.monotonic() >= give_up_at:
            message = f"order {order_id} is not paid yet; it goes on: `spell credits orders` shows it"
            raise CommandError(message, exit_code=EXIT_FAILED)
        time.sleep(POLL_S)


def _top_up(found: CreditBalance) -> str:
    return _described(found.auto_top_up)


def _described(known: AutoTopUp | None) -> str:
    if known is None or not known.enabled:
        return "off"
    cap = dollars(known.monthly_cap_cents * MICROS_PER_CENT)
    text = f"{known.package} below {known.threshold:,} credits, up to {cap} a month"
    return text if known.paused_at is None else f"{text}; paused, because a payment failed: set it again"


def _for(kind: str | None, identifier: str | None, casts: int) -> str:
    if casts:
        return f"{casts:,} casts"
    return "" if kind is None or identifier is None else f"{kind} {identifier}"
