"""Which platform a command asks, with which key, and what becomes of its refusals."""

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import click

from spell import errors
from spell.client import Client
from spell.config import KEY_VARIABLE, URL_VARIABLE, Config, config_path, read_config
from spell.exits import (
    EXIT_BUSY,
    EXIT_CAST_FAILED,
    EXIT_FAILED,
    EXIT_MONEY,
    EXIT_NO,
    EXIT_NOT_AUTHORISED,
    EXIT_NOT_FOUND,
    EXIT_USAGE,
    CommandError,
)
from spell.screen import dollars, when

Function = TypeVar("Function", bound=Callable[..., Any])
# As many as a terminal shows at once.
ROWS_DEFAULT: Final = 20
LOGIN: Final = "run `spell login`, or set SPELL_API_KEY"

# From what the SDK raises to how the program ends and what to do next; the first that fits.
_ENDINGS: Final[tuple[tuple[type[errors.SpellError], int, str], ...]] = (
    (errors.MissingApiKey, EXIT_NOT_AUTHORISED, LOGIN),
    (errors.Unauthorized, EXIT_NOT_AUTHORISED, LOGIN),
    (errors.Forbidden, EXIT_NOT_AUTHORISED, "use a key that may: `spell keys list` shows their scopes"),
    (errors.NotFound, EXIT_NOT_FOUND, ""),
    (errors.MoneyError, EXIT_MONEY, "see `spell budgets usage`"),
    (errors.PriceChanged, EXIT_MONEY, "look at `spell info`, then raise --max-price"),
    (errors.QuoteExpired, EXIT_MONEY, "`spell quote` makes another"),
    (errors.ReceiptInvalid, EXIT_NO, ""),
    (errors.RateLimited, EXIT_BUSY, ""),
    (errors.ServerBusy, EXIT_BUSY, "try again in a moment"),
    (errors.ValidationError, EXIT_USAGE, ""),
    (errors.CastFailed, EXIT_CAST_FAILED, ""),
    (errors.WaitTimedOut, EXIT_FAILED, "it goes on: `spell casts show` asks again"),
    (
        errors.ConnectionFailed,
        EXIT_FAILED,
        "is the address right, and the platform up? `spell whoami` shows which it is",
    ),
)


def platform_options(function: Function) -> Function:
    """Give a command the options that every command of a platform has: `--url` and `--json`."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    return url_option(as_json(function))


def url_option(function: Function) -> Function:
    """Give a command the option `--url`."""
    url = click.option(
        "--url", metavar="URL", help=f"Which platform. Default: {URL_VARIABLE}, then that of `spell login`."
    )
    return url(function)


def rows_option(function: Function) -> Function:
    """Give a list the option `--limit`."""
    kind = click.IntRange(min=1)
    rows = click.option("--limit", "rows_max", type=kind, default=ROWS_DEFAULT, show_default=True, help="How many.")
    return rows(function)


def chosen_url(url: str | None, config: Config, environ: Mapping[str, str]) -> str:
    """Return the platform's URL: the option's, the environment's, the file's. Raises CommandError when none says it."""
    chosen = (url or environ.get(URL_VARIABLE) or config.default).rstrip("/")
    if not chosen:
        message = f"no platform is chosen: run `spell login --url https://...`, or set {URL_VARIABLE}"
        raise CommandError(message, exit_code=EXIT_USAGE)
    if not chosen.startswith(("https://", "http://")):
        message = f"{chosen!r} is no URL; write it with https://"
        raise CommandError(message, exit_code=EXIT_USAGE)
    return chosen


def chosen_key(url: str, config: Config, environ: Mapping[str, str]) -> str | None:
    """Return the key for a platform: the environment's, else the one that was kept for this very URL."""
    key = environ.get(KEY_VARIABLE)
    if key:
        return key
    kept = config.servers.get(url)
    return None if kept is None else kept.key


@contextmanager
def platform(url: str | None) -> Generator[Client]:
    """Open a client of the chosen platform with its key. Raises CommandError when a setting is missing."""
    config = read_config(config_path())
    address = chosen_url(url, config, os.environ)
    key = chosen_key(address, config, os.environ)
    if key is None:
        message = f"there is no key for {address}: {LOGIN}"
        raise CommandError(message, exit_code=EXIT_NOT_AUTHORISED)
    with Client(api_key=key, base_url=address) as client:
        yield client


def command_error(error: errors.SpellError) -> CommandError:
    """Return how the program ends on what the SDK raised: one line that says what is wrong and what to do."""
    for kind, exit_code, advice in _ENDINGS:
        if isinstance(error, kind):
            return CommandError(_sentence(error, advice), exit_code=exit_code)
    return CommandError(_sentence(error, ""))


def _sentence(error: errors.SpellError, advice: str) -> str:
    if isinstance(error, errors.BudgetExceeded):
        limit = error.limit
        used = (
            f"{dollars(limit.spent_micros)} spent, {dollars(limit.held_micros)} held of {dollars(limit.limit_micros)}"
        )
        advice = f"it resets {when(limit.resets_at)}; raise it with `spell budgets set`, or see {limit.raise_url}"
        said = (
            f"the {limit.period} budget of the {limit.scope} has no room: {used}, {dollars(limit.needed_micros)} needed"
        )
    elif isinstance(error, errors.ApiError):
        said = " ".join([error.detail, *(_fault(fault, error.detail) for fault in error.errors)])
    else:
        said = str(error)
    return f"{said.rstrip('.')}; {advice}" if advice else said


def _fault(fault: errors.Fault, detail: str) -> str:
    return fault.fix if fault.message in detail else f"{fault.location}: {fault.message}. {fault.fix}"
