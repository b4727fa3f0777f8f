"""`spell payouts`: what a creator is owed and was paid, and the way to be paid at all."""

from itertools import islice
from typing import Final

import click
from rich_click import RichCommand, RichGroup

from spell.commands.billing import MICROS_PER_CENT, lead_to
from spell.commands.platform import platform, platform_options, rows_option
from spell.models.payouts import Payout, PayoutAccount
from spell.screen import Cell, Column, dollars, print_facts, print_json, print_rows, when

_PAGE_MAX: Final = 100
_COLUMNS: Final = (
    Column(title="period"),
    Column(title="status"),
    Column(title="amount", right=True),
    Column(title="taken back", right=True, importance=2),
    Column(title="made", importance=1),
    Column(title="transfer", importance=3),
    Column(title="why", shrinks=True),
)
_CAN: Final = {
    "none": "no: Stripe does not know you yet; go to its page with: spell payouts onboard",
    "incomplete": "no: you have not gone through Stripe's page; go on with: spell payouts onboard",
    "active": "yes",
    "disabled": "no: Stripe wants to know more; go on with: spell payouts onboard",
}


@click.group(cls=RichGroup)
def payouts() -> None:
    """See what your spells' earnings paid you, and be known to Stripe, so that they can."""


@payouts.command("list", cls=RichCommand)
@rows_option
@platform_options
def list_payouts(*, rows_max: int, url: str | None, as_json: bool) -> None:
    """List what you were paid, newest first."""
    with platform(url) as client:
        found = list(islice(client.payouts.list(page_size=min(rows_max, _PAGE_MAX)), rows_max))
    if as_json:
        print_json(found)
        return
    print_rows(_COLUMNS, [_row(one) for one in found], empty="Nothing was paid out yet; see: spell payouts account")


@payouts.command(cls=RichCommand)
@platform_options
def account(*, url: str | None, as_json: bool) -> None:
    """Show whether you can be paid, and what is owed to you now."""
    with platform(url) as client:
        found = client.payouts.account()
    if as_json:
        print_json(found)
        return
    print_facts(_facts(found))


@payouts.command(cls=RichCommand)
@platform_options
@click.option("--country", metavar="DE", help="Where you live (ISO 3166), the first time; it never changes afterwards.")
def onboard(*, country: str | None, url: str | None, as_json: bool) -> None:
    """Open Stripe's page that asks who you are and where your bank is. Needs `spell login`, not a key."""
    with platform(url) as client:
        opened = client.payouts.onboard(country)
    lead_to(opened.url, as_json=as_json)


@payouts.command(cls=RichCommand)
@platform_options
def stripe(*, url: str | None, as_json: bool) -> None:
    """Open your dashboard at Stripe. Needs `spell login`, not a key."""
    with platform(url) as client:
        opened = client.payouts.login_link()
    lead_to(opened.url, as_json=as_json)


def _row(one: Payout) -> tuple[Cell, ...]:
    return (
        one.period,
        one.status,
        dollars(one.amount_cents * MICROS_PER_CENT),
        dollars(one.reversed_cents * MICROS_PER_CENT) if one.reversed_cents else "",
        when(one.created_at),
        one.stripe_transfer_id or "",
        one.failure_code or "",
    )


def _facts(found: PayoutAccount) -> list[tuple[str, Cell]]:
    facts: list[tuple[str, Cell]] = [("can be paid", _CAN.get(found.status, found.status))]
    if found.disabled_reason is not None:
        facts.append(("Stripe says", found.disabled_reason))
    facts.append(("payable", dollars(found.payable_micros)))
    if found.held_back_micros:
        facts.append(("of it held back", dollars(found.held_back_micros)))
    facts.append(("paid from", dollars(found.paid_from_cents * MICROS_PER_CENT)))
    return facts
