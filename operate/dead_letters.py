"""`spell dead-letters`: messages that nobody will run, over HTTP with the operator's secret: look, cast again, drop."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

import click
import httpx
import msgspec
from rich_click import RichCommand, RichGroup

from spell.commands.platform import chosen_url, platform_options
from spell.config import config_path, read_config
from spell.exits import EXIT_FAILED, EXIT_MONEY, EXIT_NOT_AUTHORISED, EXIT_NOT_FOUND, EXIT_USAGE, CommandError
from spell.screen import Column, dollars, print_done, print_json, print_rows, say

SECRET_VARIABLE: Final = "ADMIN_SECRET"  # noqa: S105  # the name of a setting
TIMEOUT_S: Final = 30.0
# The api shows no more at once.
PAGE_MAX: Final = 100
_COLUMNS: Final = (
    Column(title="pool"),
    Column(title="id"),
    Column(title="cast", importance=1),
    Column(title="reason", shrinks=True),
)
_ENDINGS: Final = {
    HTTPStatus.UNAUTHORIZED: EXIT_NOT_AUTHORISED,
    HTTPStatus.FORBIDDEN: EXIT_NOT_AUTHORISED,
    HTTPStatus.NOT_FOUND: EXIT_NOT_FOUND,
    HTTPStatus.PAYMENT_REQUIRED: EXIT_MONEY,
}


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One entry; `cast_id` is None where the message could not be read."""

    pool: str
    id: str
    reason: str
    cast_id: str | None


class _Letters(msgspec.Struct, frozen=True, kw_only=True):
    data: list[Letter]


class _Requeued(msgspec.Struct, frozen=True, kw_only=True):
    cast_id: str
    held_micros: int


class _Problem(msgspec.Struct, frozen=True, kw_only=True):
    detail: str


@click.group(name="dead-letters", cls=RichGroup)
def dead_letters() -> None:
    """List what nobody will run, cast it once more, or drop it. Needs ADMIN_SECRET."""


@dead_letters.command(name="list", cls=RichCommand)
@click.option("--limit", type=click.IntRange(1, PAGE_MAX), default=PAGE_MAX, show_default=True)
@platform_options
def list_(*, limit: int, url: str | None, as_json: bool) -> None:
    """List the newest dead letters of every pool."""
    with _operator(url) as http:
        found = msgspec.json.decode(_asked(http, "GET", "", limit=limit), type=_Letters).data
    if as_json:
        print_json(found)
        return
    rows = [(letter.pool, letter.id, letter.cast_id or "?", letter.reason) for letter in found]
    print_rows(_COLUMNS, rows, empty="There is no dead letter.")


@dead_letters.command(cls=RichCommand)
@platform_options
@click.argument("pool")
@click.argument("letter_id", metavar="ID")
def requeue(*, url: str | None, as_json: bool, pool: str, letter_id: str) -> None:
    """Cast once more what the letter was for: a new cast with a new hold, for the same account."""
    with _operator(url) as http:
        again = msgspec.json.decode(_asked(http, "POST", f"/{pool}/{letter_id}/requeue"), type=_Requeued)
    if as_json:
        print_json(again)
        return
    click.echo(again.cast_id)
    say(f"It holds {dollars(again.held_micros)}")


@dead_letters.command(cls=RichCommand)
@platform_options
@click.argument("pool")
@click.argument("letter_id", metavar="ID")
def drop(*, url: str | None, as_json: bool, pool: str, letter_id: str) -> None:
    """Drop a letter. Its cast ended long before, and holds nothing."""
    with _operator(url) as http:
        _asked(http, "DELETE", f"/{pool}/{letter_id}")
    print_done(letter_id, "dropped", as_json=as_json)


@contextmanager
def _operator(url: str | None) -> Generator[httpx.Client]:
    """Open the operator's way to a platform. Raises CommandError when the secret is missing."""
    secret = os.environ.get(SECRET_VARIABLE, "")
    if not secret or not secret.isascii() or not secret.isprintable():
        message = f"{SECRET_VARIABLE} is not set, or cannot be sent; it is the api's own setting of that name"
        raise CommandError(message, exit_code=EXIT_USAGE)
    address = chosen_url(url, read_config(config_path()), os.environ)
    with httpx.Client(base_url=address, headers={"X-Admin-Secret": secret}, timeout=TIMEOUT_S) as http:
        yield http


def _asked(http: httpx.Client, method: str, path: str, **query: int) -> bytes:
    try:
        answer = http.request(method, f"/admin/dead-letters{path}", params=query)
    except httpx.HTTPError as error:
        message = f"{http.base_url} does not answer ({error}); is the api up?"
        raise CommandError(message) from error
    if answer.is_success:
        return answer.content
    try:
        said = msgspec.json.decode(answer.content, type=_Problem).detail
    except msgspec.MsgspecError:
        said = f"the answer was {answer.status_code}; is this the address of a platform with ADMIN_SECRET set?"
    raise CommandError(said, exit_code=_ENDINGS.get(HTTPStatus(answer.status_code), EXIT_FAILED))
