"""Many casts of one command: accepted in batches, shown in a line each as they end."""

from collections.abc import Iterator, Mapping, Sequence

import click
import msgspec
from rich.console import Console
from rich.text import Text

from spell.client import Client
from spell.commands.cast_views import refusal, short_output
from spell.commands.platform import command_error
from spell.errors import SpellError
from spell.exits import EXIT_CAST_FAILED, EXIT_DONE
from spell.models.casts import Cast, CastRequest
from spell.screen import STATUS_STYLES, dollars, print_json, progress, say, stdout

_LABEL_CHARACTERS_MAX = 28
_STATUS_CHARACTERS = len("succeeded")
_MONEY_CHARACTERS = len("$0.123456")


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of one cast."""

    label: str
    status: str
    money: str = ""
    cast_id: str = ""
    words: str


def cast_many(
    client: Client,
    labels: Sequence[str],
    requests: Sequence[CastRequest],
    *,
    wait: bool,
    idempotency_key: str | None,
    as_json: bool,
) -> int:
    """Make the casts and show each; return how the command ends: a refusal counts more than a cast that failed."""
    verdicts = client.casts.batch(requests, idempotency_key=idempotency_key)
    exit_code = EXIT_DONE
    label_of: dict[str, str] = {}
    accepted: list[Cast] = []
    console = stdout()
    for label, verdict in zip(labels, verdicts, strict=True):
        if verdict.cast is not None:
            label_of[verdict.cast.id] = label
            accepted.append(verdict.cast)
        elif verdict.error is not None:
            exit_code = exit_code or command_error(verdict.error).exit_code
            _show_refused(console, label, verdict.error, as_json=as_json)
    spent_micros, failed = 0, 0
    with progress(enabled=wait) as bar:
        task = bar.add_task(f"{len(accepted)} casts", total=len(accepted))
        for cast in ended(client, accepted) if wait else accepted:
            _show(bar.console if bar.live.is_started else console, label_of[cast.id], cast, as_json=as_json)
            spent_micros += cast.cost.cost_micros or 0
            failed += cast.is_final and cast.status != "succeeded"
            bar.advance(task)
    refused = len(requests) - len(accepted)
    if wait:
        done = len(accepted) - failed
        say(f"{done} succeeded, {failed} failed, {refused} refused; they cost {dollars(spent_micros)}")
    return exit_code or (EXIT_CAST_FAILED if failed else EXIT_DONE)


def ended(client: Client, accepted: Sequence[Cast]) -> Iterator[Cast]:
    """Yield each cast when it has ended. Waits for the oldest, then asks in pages for those that ended meanwhile."""
    waiting = {cast.id: cast for cast in accepted}
    while waiting:
        oldest = min(waiting)  # ids are in order of time
        first = client.casts.wait(waiting[oldest])
        del waiting[oldest]
        yield first
        if waiting:
            for cast in _look(client, waiting):
                del waiting[cast.id]
                yield cast


def _look(client: Client, waiting: Mapping[str, Cast]) -> list[Cast]:
    """Return those of `waiting` that have ended, newest first."""
    oldest, found = min(waiting), list[Cast]()
    for cast in client.casts.list():
        if cast.id < oldest:
            break
        if cast.id in waiting and cast.is_final:
            found.append(cast)
    return found


def _show(console: Console, label: str, cast: Cast, *, as_json: bool) -> None:
    if as_json:
        print_json({"input": label, "cast": cast})
        return
    micros = cast.cost.held_micros if cast.cost.cost_micros is None else cast.cost.cost_micros
    line = _Line(label=label, status=cast.status, money=dollars(micros), cast_id=cast.id, words=short_output(cast))
    _print(console, line)


def _show_refused(console: Console, label: str, error: SpellError, *, as_json: bool) -> None:
    if as_json:
        print_json({"input": label, "error": refusal(error)})
        return
    _print(console, _Line(label=label, status="refused", words=str(error)))


def _print(console: Console, one: _Line) -> None:
    """Print a line: in columns cut to the terminal, or separated by tabs."""
    label, words = _flat(one.label), _flat(one.words)
    if not stdout().is_terminal:
        click.echo(f"{label}\t{one.status}\t{one.money}\t{one.cast_id}\t{words}")
        return
    line = Text(no_wrap=True, overflow="ellipsis")
    name = Text(label)
    name.truncate(_LABEL_CHARACTERS_MAX, overflow="ellipsis", pad=True)
    line.append_text(name)
    line.append(f"  {one.status:<{_STATUS_CHARACTERS}}", style=STATUS_STYLES.get(one.status, "red"))
    line.append(f"  {one.money:>{_MONEY_CHARACTERS}}  {words}")
    console.print(line, no_wrap=True, overflow="ellipsis", crop=True)


def _flat(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
