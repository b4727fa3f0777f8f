"""`spell cast`: run a spell on one input, or on many."""

from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich_click import RichCommand

from spell.building.python_program import RUNTIME, program_with_input
from spell.client import Client
from spell.commands.amounts import DOLLARS_TO_MICROS, LimitOption, limits_of
from spell.commands.cast_many import cast_many
from spell.commands.cast_views import exit_code_of, show_ended, summary
from spell.commands.inputs import CastInput, read_input
from spell.commands.platform import platform, platform_options
from spell.exits import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, CommandError
from spell.models.casts import Cast, CastRequest
from spell.screen import print_json, say, stderr

# As long as a cast may take that names no deadline of its own.
WAIT_SECONDS_DEFAULT: Final = 900
_MILLISECONDS: Final = 1000


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for, beside the inputs."""

    wait: bool
    watch: bool
    timeout_s: int
    idempotency_key: str | None
    as_json: bool


@click.command(cls=RichCommand)
@click.option("--raw", is_flag=True, help="Inputs are bytes, also where they are JSON.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the result, or print the cast's id.")
@click.option("--watch", is_flag=True, help="Show each status as it is reached.")
@click.option("--timeout", "timeout_s", type=click.IntRange(min=1), default=WAIT_SECONDS_DEFAULT, help="In seconds.")
@click.option("--max-price", "max_price_micros", type=DOLLARS_TO_MICROS, help="Refuse when it could cost more dollars.")
@click.option("--quote", metavar="TEXT", help="Hold it at the prices of this quote (spell quote).")
@click.option(
    "--limit", "limits", type=LimitOption(), multiple=True, help="Like fuel=10M, wall_ms=500, memory_bytes=8MiB."
)
@click.option("--deadline", "deadline_s", type=click.IntRange(min=1), help="Seconds until it expires, free of charge.")
@click.option("--pool", type=click.Choice(("large",)), help="Ask for the large workers.")
@click.option("--metadata", metavar="JSON", help="An object that is kept with the cast.")
@click.option("--webhook", "webhook_url", metavar="URL", help="Tell this address when it ends.")
@click.option("--idempotency-key", metavar="KEY", help="The same key again is the same cast. Default: a new one.")
@platform_options
@click.argument("spell", metavar="OWNER/NAME[@VERSION]")
@click.argument("inputs", nargs=-1)
def cast(
    *,
    raw: bool,
    wait: bool,
    watch: bool,
    timeout_s: int,
    max_price_micros: int | None,
    quote: str | None,
    limits: tuple[tuple[str, int], ...],
    deadline_s: int | None,
    pool: str | None,
    metadata: str | None,
    webhook_url: str | None,
    idempotency_key: str | None,
    url: str | None,
    as_json: bool,
    spell: str,
    inputs: tuple[str, ...],
) -> int:
    """Cast a spell on an input: JSON, other text, @FILE, or - for standard input; many inputs are many casts.

    The output goes to standard output, byte for byte in a pipe; what it cost to standard error. Instead of a spell, a
    program that `spell build` made of Python (build/NAME.py) runs in runtime/python.
    """
    given = [read_input(text, raw=raw) for text in inputs]
    common = {
        "limits": limits_of(limits),
        "deadline_ms": None if deadline_s is None else deadline_s * _MILLISECONDS,
        "pool": pool,
        "max_price_micros": max_price_micros,
        "quote": quote,
        "webhook_url": webhook_url,
        "metadata": _metadata(metadata),
    }
    requests = [_request(spell, one, common) for one in given or [None]]
    order = Order(wait=wait, watch=watch, timeout_s=timeout_s, idempotency_key=idempotency_key, as_json=as_json)
    if watch and len(requests) > 1:
        message = "--watch follows one cast; give one input, or leave --watch out"
        raise CommandError(message, exit_code=EXIT_USAGE)
    with platform(url) as client:
        if len(requests) > 1:
            labels = [one.label for one in given]
            return cast_many(client, labels, requests, wait=wait, idempotency_key=idempotency_key, as_json=as_json)
        return _cast_one(client, requests[0], order)


def watch_cast(client: Client, cast: Cast, *, as_json: bool) -> Cast:
    """Show each status of a cast as it is reached, and return it when it has ended."""
    seen = cast
    with client.casts.events(cast) as events:
        for event in events:
            seen = event.cast
            if as_json:
                print_json(seen)
            elif not seen.is_final:
                say(summary(seen), style="cyan")
    return seen


def _cast_one(client: Client, request: CastRequest, order: Order) -> int:
    asked: dict[str, Any] = {name: getattr(request, name) for name in CastRequest.__struct_fields__}
    if order.watch or not order.wait:
        accepted = client.casts.cast_async(**asked, idempotency_key=order.idempotency_key)
        if not order.watch:
            return _show_accepted(accepted, as_json=order.as_json)
        ended = watch_cast(client, accepted, as_json=order.as_json)
    else:
        with stderr().status(f"casting {request.spell}"):
            ended = client.casts.cast(**asked, wait_s=order.timeout_s, idempotency_key=order.idempotency_key)
        if order.as_json:
            print_json(ended)
    if not ended.is_final:
        message = f"the cast has not ended after {order.timeout_s} s and goes on: spell casts show {ended.id} --watch"
        raise CommandError(message, exit_code=EXIT_FAILED)
    if not order.as_json:
        show_ended(ended)
    return exit_code_of(ended)


def _show_accepted(cast: Cast, *, as_json: bool) -> int:
    if as_json:
        print_json(cast)
    else:
        click.echo(cast.id)
        say(f"{summary(cast)}; see it with: spell casts show {cast.id} --watch")
    return EXIT_DONE


def _request(spell: str, given: CastInput | None, common: dict[str, Any]) -> CastRequest:
    if spell.endswith(".py"):
        program = _program(Path(spell))
        return CastRequest(
            spell=RUNTIME, input=program_with_input(program, b"" if given is None else given.stdin), **common
        )
    return CastRequest(spell=spell, input=msgspec.UNSET if given is None else given.value, **common)


def _program(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror}): build it with `spell build`"
        raise CommandError(message, exit_code=EXIT_USAGE) from error


def _metadata(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        message = f"--metadata is no JSON object: {error}"
        raise CommandError(message, exit_code=EXIT_USAGE) from error
