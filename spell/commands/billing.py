"""`spell billing` and `spell plans`: how the account pays, Stripe's pages, and what is for sale."""

from typing import Final

import click
from rich_click import RichCommand, RichGroup

from spell.commands.browser_login import open_browser
from spell.commands.platform import platform, platform_options
from spell.models.billing import Billing, Plan
from spell.screen import Cell, Column, dollars, is_terminal, print_facts, print_json, print_rows, say, when

MICROS_PER_CENT: Final = 10_000
_SOLD: Final = ("pro", "enterprise")
_PLANS: Final = (
    Column(title="plan"),
    Column(title="a month", right=True),
    Column(title="free casts", right=True),
    Column(title="a cast", right=True, importance=1),
    Column(title="10^9 fuel", right=True, importance=2),
    Column(title="beyond them", importance=1),
)


@click.command(cls=RichCommand)
@platform_options
def plans(*, url: str | None, as_json: bool) -> None:
    """List the plans, and what casts cost on them."""
    with platform(url) as client:
        found = client.billing.plans()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one.id,
            _fee(one),
            f"{one.free_casts_per_month:,}",
            dollars(one.per_cast_micros),
            dollars(one.per_gfuel_micros),
            "billed by the month, or credits" if one.metered else "credits",
        )
        for one in found
    ]
    print_rows(_PLANS, rows, empty="Nothing is for sale here.")


@click.group(cls=RichGroup)
def billing() -> None:
    """See how the account pays, subscribe to a plan, change it, pause all spending."""


@billing.command(cls=RichCommand)
@platform_options
def show(*, url: str | None, as_json: bool) -> None:
    """Show the plan, whether a payment is overdue, and the month so far."""
    with platform(url) as client:
        found = client.billing.now()
    _print(found, as_json=as_json)


@billing.command(cls=RichCommand)
@platform_options
@click.argument("plan", type=click.Choice(_SOLD), default="pro")
def checkout(*, url: str | None, as_json: bool, plan: str) -> None:
    """Open the page to subscribe to PLAN (pro, if none is named)."""
    with platform(url) as client:
        opened = client.billing.checkout(plan)
    lead_to(opened.url, as_json=as_json)


@billing.command(cls=RichCommand)
@platform_options
def portal(*, url: str | None, as_json: bool) -> None:
    """Open the page where the card is changed and invoices are shown."""
    with platform(url) as client:
        opened = client.billing.portal()
    lead_to(opened.url, as_json=as_json)


@billing.command(cls=RichCommand)
@platform_options
@click.argument("plan", type=click.Choice(_SOLD))
def change(*, url: str | None, as_json: bool, plan: str) -> None:
    """Go over to PLAN now; the difference is prorated. The present plan again withdraws a cancellation."""
    with platform(url) as client:
        found = client.billing.change(plan)
    _print(found, as_json=as_json)


@billing.command(cls=RichCommand)
@platform_options
def cancel(*, url: str | None, as_json: bool) -> None:
    """End the subscription with the period that is paid."""
    with platform(url) as client:
        found = client.billing.cancel()
    _print(found, as_json=as_json)


@billing.command(cls=RichCommand)
@platform_options
def pause(*, url: str | None, as_json: bool) -> None:
    """Have every cast refused until `spell billing resume`, whatever would pay for it."""
    with platform(url) as client:
        found = client.billing.pause()
    _print(found, as_json=as_json)


@billing.command(cls=RichCommand)
@platform_options
def resume(*, url: str | None, as_json: bool) -> None:
    """Have casts accepted again."""
    with platform(url) as client:
        found = client.billing.resume()
    _print(found, as_json=as_json)


def _fee(plan: Plan) -> str:
    if plan.monthly_cents is None:
        return "not sold here" if not plan.available else "not known now"
    return dollars(plan.monthly_cents * MICROS_PER_CENT)


def _print(found: Billing, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    facts: list[tuple[str, Cell]] = [("plan", _plan(found)), ("casts", _casts(found))]
    if found.payment_overdue and found.grace_until is not None:
        facts.append(
            ("payment overdue", f"metered casts go on until {when(found.grace_until)}; see: spell billing portal")
        )
    facts += [
        ("free casts", f"{found.free.remaining:,} of {found.free.limit:,} left"),
        ("this month", f"{dollars(found.spent_micros)} spent, {dollars(found.held_micros)} held by open casts"),
    ]
    if found.current_period_end is not None and found.ends_at is None:
        facts.append(("next payment", when(found.current_period_end)))
    print_facts(facts)


def _plan(found: Billing) -> str:
    if found.ends_at is not None:
        return f"{found.plan}, until {when(found.ends_at)}"
    return found.plan if found.status in {"none", "active"} else f"{found.plan} ({found.status})"


def _casts(found: Billing) -> str:
    if found.spend_paused:
        return "refused: spending is paused; go on with: spell billing resume"
    if not found.billing_enabled:
        return "accepted, and billed to nobody"
    if found.metered:
        return "accepted, and billed by the month beyond free ones and credits"
    return "accepted as long as free ones or credits pay for them"


def lead_to(page: str, *, as_json: bool) -> None:
    """Open a page, or print where it is: to whoever has no browser, and to programs."""
    if as_json:
        print_json({"url": page})
    elif is_terminal() and open_browser(page):
        say("The page is open in the browser.")
    else:
        click.echo(page)
