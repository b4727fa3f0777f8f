"""`spell budgets`: limits that no cast passes, and how much of them is used."""

from typing import Final

import click
from rich.text import Text
from rich_click import RichCommand, RichGroup

from spell.client import Client
from spell.commands.amounts import DOLLARS_TO_CENTS
from spell.commands.platform import platform, platform_options
from spell.exits import EXIT_NOT_FOUND, CommandError
from spell.models.budgets import Budget
from spell.screen import Cell, Column, dollars, gauge, print_done, print_facts, print_json, print_rows, when

_PERIODS: Final = ("daily", "monthly")
_SCOPES: Final = ("account", "key", "spell")
_COLUMNS: Final = (
    Column(title="id", importance=2),
    Column(title="scope"),
    Column(title="period"),
    Column(title="hard", right=True),
    Column(title="soft", right=True, importance=3),
    Column(title="used", right=True),
    Column(title="of the hard limit", importance=1),
    Column(title="resets", importance=4),
)


@click.group(cls=RichGroup)
def budgets() -> None:
    """Set limits, and see how much of them is used."""


@budgets.command(name="list", cls=RichCommand)
@platform_options
def list_(*, url: str | None, as_json: bool) -> None:
    """List every budget of the account, with what is spent and held."""
    with platform(url) as client:
        found = client.budgets.list().data
    if as_json:
        print_json(found)
        return
    empty = "There is no budget. Set one: spell budgets set --hard 5 --period daily"
    print_rows(_COLUMNS, [_row(budget) for budget in found], empty=empty)


@budgets.command(name="set", cls=RichCommand)
@click.option("--hard", "hard_cents", type=DOLLARS_TO_CENTS, help="Dollars that no cast passes: it gets a 402.")
@click.option("--soft", "soft_cents", type=DOLLARS_TO_CENTS, help="Dollars from which on you are told.")
@click.option("--no-hard", is_flag=True, help="Take the hard limit away.")
@click.option("--no-soft", is_flag=True, help="Take the soft limit away.")
@click.option("--period", type=click.Choice(_PERIODS), default="monthly", show_default=True)
@click.option("--scope", type=click.Choice(_SCOPES), default="account", show_default=True, help="Whose casts it binds.")
@click.option("--of", "target", metavar="PREFIX|OWNER/NAME", help="Which key, or which spell.")
@platform_options
def set_(
    *,
    hard_cents: int | None,
    soft_cents: int | None,
    no_hard: bool,
    no_soft: bool,
    period: str,
    scope: str,
    target: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Set a limit: of the account, of a key, or of a spell, for a day or a month. What is not given stays as it is.

    From the answer on it binds every cast. Raising one needs the scope budgets:write.
    """
    if hard_cents is None and soft_cents is None and not (no_hard or no_soft):
        message = "say what to set: --hard 5, --soft 4, --no-hard or --no-soft"
        raise click.UsageError(message)
    if (scope == "account") != (target is None):
        message = "--of names the key or the spell; it belongs to --scope key and --scope spell, and to them alone"
        raise click.UsageError(message)
    with platform(url) as client:
        scope_id = None if target is None else _scope_id(client, scope, target)
        known = [
            budget
            for budget in client.budgets.list().data
            if (budget.scope, budget.period) == (scope, period) and scope_id in {None, budget.scope_id}
        ]
        before = known[0] if known else None
        hard = None if no_hard else _kept(hard_cents, None if before is None else before.hard_limit_cents)
        soft = None if no_soft else _kept(soft_cents, None if before is None else before.soft_limit_cents)
        if before is None:
            budget = client.budgets.create(
                scope=scope, scope_id=scope_id, period=period, soft_limit_cents=soft, hard_limit_cents=hard
            )
        else:
            budget = client.budgets.update(
                before.id, soft_limit_cents=soft, hard_limit_cents=hard, notify=before.notify
            )
    _show([budget], as_json=as_json)


@budgets.command(cls=RichCommand)
@platform_options
@click.argument("budget_id", metavar="ID")
def delete(*, url: str | None, as_json: bool, budget_id: str) -> None:
    """Delete a budget. Needs the scope budgets:write, on a key the budget does not bind."""
    with platform(url) as client:
        client.budgets.delete(budget_id)
    print_done(budget_id, "deleted", as_json=as_json)


@budgets.command(cls=RichCommand)
@platform_options
def usage(*, url: str | None, as_json: bool) -> None:
    """Show what the account used of this month, and how full each budget is."""
    with platform(url) as client:
        used = client.budgets.usage()
    if as_json:
        print_json(used)
        return
    facts: list[tuple[str, Cell]] = [
        ("spent this month", dollars(used.spent_micros)),
        ("held by open casts", dollars(used.held_micros)),
        ("month ends", when(used.resets_at)),
    ]
    facts += [(f"{budget.scope} {budget.period}", _fullness(budget)) for budget in used.data]
    print_facts(facts)


def _fullness(budget: Budget) -> Cell:
    used = budget.spent_micros + budget.held_micros
    if budget.hard_limit_micros is None:
        return f"{dollars(used)} used, no hard limit"
    return Text.assemble(gauge(used, budget.hard_limit_micros), f" of {dollars(budget.hard_limit_micros)}")


def _scope_id(client: Client, scope: str, target: str) -> str:
    if scope == "spell":
        return client.spells.get(target).id
    for key in client.keys.list():
        if target in {key.prefix, key.id}:
            return key.id
    message = f"there is no key {target}; `spell keys list` shows them"
    raise CommandError(message, exit_code=EXIT_NOT_FOUND)


def _kept(given: int | None, before: int | None) -> int | None:
    return before if given is None else given


def _show(found: list[Budget], *, as_json: bool) -> None:
    if as_json:
        print_json(found[0])
        return
    print_rows(_COLUMNS, [_row(budget) for budget in found], empty="")


def _row(budget: Budget) -> tuple[Cell, ...]:
    used = budget.spent_micros + budget.held_micros
    hard, soft = budget.hard_limit_micros, budget.soft_limit_micros
    return (
        budget.id,
        budget.scope if budget.scope == "account" else f"{budget.scope} {budget.scope_id[:8]}",
        budget.period,
        "-" if hard is None else dollars(hard),
        "-" if soft is None else dollars(soft),
        dollars(used),
        "-" if hard is None else gauge(used, hard),
        when(budget.resets_at),
    )
