"""`spell keys`: the account's own API keys, over HTTP. The server part adds `--handle`, for its operator."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import click
import msgspec
from rich_click import RichCommand, RichGroup

from spell.commands.amounts import DOLLARS_TO_CENTS
from spell.commands.platform import platform, platform_options
from spell.models.keys import Key, KeyBudget, NewKey
from spell.screen import Cell, Column, print_done, print_json, print_rows, say, when

_DAYS_MAX: Final = 3_650
_COLUMNS: Final = (
    Column(title="prefix"),
    Column(title="name", shrinks=True),
    Column(title="scopes", shrinks=True, importance=3),
    Column(title="last used", importance=1),
    Column(title="expires", importance=2),
    Column(title="made", importance=4),
)


@click.group(cls=RichGroup)
def keys() -> None:
    """Make, list, change, rotate and revoke API keys."""


@keys.command(cls=RichCommand)
@click.option("--name", default="made with the program spell", show_default=True, help="What it is for.")
@click.option("--test", is_flag=True, help="A test key: its casts run for real and cost nothing.")
@click.option("--scope", "scopes", multiple=True, help="What it may do, like spells:write; may be given again.")
@click.option("--rate-limit-rpm", type=click.IntRange(min=1), help="Requests a minute. Default: the platform's.")
@click.option("--open-casts-max", type=click.IntRange(min=0), help="How many of its casts may be open at once.")
@click.option("--expires-days", type=click.IntRange(1, _DAYS_MAX), help="When it ends by itself. Default: never.")
@click.option("--budget", "budget_cents", type=DOLLARS_TO_CENTS, help="What it may spend in a month, in dollars.")
@click.option("--origin", "origins", multiple=True, help="A web page that may use it. Default: no page is refused.")
@platform_options
def create(
    *,
    name: str,
    test: bool,
    scopes: tuple[str, ...],
    rate_limit_rpm: int | None,
    open_casts_max: int | None,
    expires_days: int | None,
    budget_cents: int | None,
    origins: tuple[str, ...],
    url: str | None,
    as_json: bool,
) -> None:
    """Make a key and print it. It is shown this once, and may at most what the key may that makes it."""
    with platform(url) as client:
        made = client.keys.create(
            name,
            mode="test" if test else "live",
            scopes=scopes or None,
            rate_limit_rpm=rate_limit_rpm,
            open_casts_max=open_casts_max,
            expires_at=expiry(expires_days),
            budget=None if budget_cents is None else KeyBudget(hard_limit_cents=budget_cents),
            allowed_origins=origins,
        )
    show_secret(made, as_json=as_json)


@keys.command(name="list", cls=RichCommand)
@platform_options
def list_(*, url: str | None, as_json: bool) -> None:
    """List the keys that are not revoked."""
    with platform(url) as client:
        show_keys(list(client.keys.list()), as_json=as_json)


@keys.command(cls=RichCommand)
@click.option("--name", help="Its new name.")
@click.option("--scope", "scopes", multiple=True, help="All powers it has from now on; may be given again.")
@click.option("--no-scopes", is_flag=True, help="It may cast and read from now on, no more.")
@click.option("--rate-limit-rpm", type=click.IntRange(min=1), help="Requests a minute.")
@click.option("--open-casts-max", type=click.IntRange(min=0), help="How many of its casts may be open at once.")
@click.option("--expires-days", type=click.IntRange(1, _DAYS_MAX), help="Ends by itself in so many days.")
@platform_options
@click.argument("prefix")
def update(
    *,
    name: str | None,
    scopes: tuple[str, ...],
    no_scopes: bool,
    rate_limit_rpm: int | None,
    open_casts_max: int | None,
    expires_days: int | None,
    url: str | None,
    as_json: bool,
    prefix: str,
) -> None:
    """Change the key PREFIX (sk_live_ and eight characters). What is not given stays as it is."""
    if no_scopes and scopes:
        message = "--scope and --no-scopes contradict each other; leave one out"
        raise click.UsageError(message)
    unset = msgspec.UNSET
    with platform(url) as client:
        changed = client.keys.update(
            prefix,
            name=unset if name is None else name,
            scopes=scopes if scopes or no_scopes else unset,
            rate_limit_rpm=unset if rate_limit_rpm is None else rate_limit_rpm,
            open_casts_max=unset if open_casts_max is None else open_casts_max,
            expires_at=expiry(expires_days) or unset,
        )
    show_keys([changed], as_json=as_json)


@keys.command(cls=RichCommand)
@click.option("--grace", "grace_s", type=click.IntRange(min=0), help="Seconds the old one stays valid. Default: a day.")
@platform_options
@click.argument("prefix")
def rotate(*, grace_s: int | None, url: str | None, as_json: bool, prefix: str) -> None:
    """Give the key PREFIX a new secret and print it. The old one stays valid for a while; budgets stay with the key."""
    with platform(url) as client:
        rotated = client.keys.rotate(prefix, grace_s=grace_s)
    show_secret(rotated, as_json=as_json)
    if rotated.previous_until is not None:
        say(f"The old secret is good until {rotated.previous_until:%Y-%m-%d %H:%M} UTC")


@keys.command(cls=RichCommand)
@platform_options
@click.argument("prefix")
def revoke(*, url: str | None, as_json: bool, prefix: str) -> None:
    """End the key PREFIX (sk_live_ and eight characters). When this returns, it casts nothing any more."""
    with platform(url) as client:
        client.keys.revoke(prefix)
    print_done(prefix, "revoked", as_json=as_json)


def expiry(days: int | None) -> datetime | None:
    """Return the instant so many days from now."""
    return None if days is None else datetime.now(UTC) + timedelta(days=days)


def show_secret(key: NewKey, *, as_json: bool) -> None:
    """Print a secret alone on standard output, ready for a pipe, and the remark about it elsewhere."""
    if as_json:
        print_json(key)
    elif key.key is None:
        say(f"{key.prefix} was made before, and its secret shown then: spell keys rotate {key.prefix}")
    else:
        click.echo(key.key)
        say(f"This is the only time it is shown. It is {key.prefix} in `spell keys list`.")


def show_keys(found: Sequence[Key], *, as_json: bool) -> None:
    """Print keys as a table or as JSON."""
    if as_json:
        print_json(found)
        return
    print_rows(_COLUMNS, [_row(key) for key in found], empty="There is no key.")


def _row(key: Key) -> tuple[Cell, ...]:
    scopes = " ".join(key.scopes) or "-"
    return (
        key.prefix,
        key.name,
        scopes,
        when(key.last_used_at) or "never",
        when(key.expires_at) or "never",
        when(key.created_at),
    )
