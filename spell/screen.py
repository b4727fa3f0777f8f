"""What commands print: tables that fit the terminal, tab-separated rows in a pipe, JSON when asked.

Colour and aligned columns are for people, so a terminal alone shows them (NO_COLOR takes the colour away). A pipe
gets every row whole: fields separated by tabs, no heading, times as RFC 3339.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

# Between two columns of a table.
_GAP_CHARACTERS: Final = 2
# A column that may shrink shows at least this much.
_SHRUNK_CHARACTERS_MIN: Final = 12
MICROS_PER_DOLLAR: Final = 1_000_000
_CENTS_DIGITS: Final = 2
_KIB: Final = 1024
GAUGE_CHARACTERS: Final = 20
_PERCENT_WARNING: Final = 80
_PERCENT_FULL: Final = 100
_SECONDS_PER_UNIT: Final = (("d", 86_400), ("h", 3_600), ("m", 60))

STATUS_STYLES: Final = {
    "succeeded": "green",
    "failed": "red",
    "expired": "red",
    "canceled": "yellow",
    "running": "cyan",
    "queued": "cyan",
}


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column of a table."""

    title: str
    right: bool = False
    """Numbers stand on the right."""
    shrinks: bool = False
    """Where the terminal is narrow, its text is cut; other columns are shown whole or not at all."""
    importance: int = 0
    """Where the terminal is narrow, the column with the highest number goes first; 0 stays."""


Cell = str | Text


def stdout() -> Console:
    """Return the console of standard output."""
    return Console(highlight=False)


def stderr() -> Console:
    """Return the console of standard error, where progress and remarks go."""
    return Console(highlight=False, stderr=True)


def is_terminal() -> bool:
    """Tell whether a person reads standard output."""
    return stdout().is_terminal


def print_json(value: object) -> None:
    """Print one JSON document in a line of its own; structs and plain values alike."""
    click.echo(msgspec.json.encode(value))


def print_done(what: str, done: str, *, as_json: bool) -> None:
    """Print what was done to what, where there is nothing else to show."""
    if as_json:
        print_json({"id": what, done: True})
    else:
        click.echo(f"{what} is {done}")


def print_rows(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], *, empty: str) -> None:
    """Print a table at a terminal, tab-separated lines in a pipe; `empty` says on standard error that there is none."""
    cells = [[_clean(cell) for cell in row] for row in rows]
    if not cells:
        stderr().print(empty, style="dim", markup=False, soft_wrap=True)
        return
    console = stdout()
    if not console.is_terminal:
        for row in cells:
            click.echo("\t".join(cell.plain for cell in row))
        return
    widths = _widths(columns, cells, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP_CHARACTERS, 0, 0), header_style="dim")
    for index, width in widths.items():
        table.add_column(
            columns[index].title.upper(),
            justify="right" if columns[index].right else "left",
            no_wrap=True,
            overflow="ellipsis",
            width=width,
        )
    for row in cells:
        table.add_row(*(row[index] for index in widths))
    console.print(table)


def print_facts(facts: Iterable[tuple[str, Cell]], *, aside: bool = False) -> None:
    """Print names and values under each other; in a pipe separated by a tab. `aside`: on standard error."""
    console = stderr() if aside else stdout()
    pairs = [(name, _clean(value)) for name, value in facts]
    if not console.is_terminal:
        for name, value in pairs:
            click.echo(f"{name}\t{value.plain}", err=aside)
        return
    grid = Table.grid(padding=(0, _GAP_CHARACTERS, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(name, value)
    console.print(grid)


def say(message: str, *, style: str | None = None) -> None:
    """Print a sentence for people on standard error: results alone go to standard output."""
    stderr().print(message, style=style, markup=False, soft_wrap=True)


def progress(*, enabled: bool = True) -> Progress:
    """Return a progress bar on standard error that leaves no trace, and is silent where nobody looks."""
    console = stderr()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not (enabled and console.is_terminal),
    )


def dollars(micros: int) -> str:
    """Return an amount in dollars, exactly: at least cents, and as many digits as the micros need."""
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), MICROS_PER_DOLLAR)
    digits = f"{rest:06d}".rstrip("0").ljust(_CENTS_DIGITS, "0")
    return f"{sign}${whole:,}.{digits}"


def gauge(used: int, limit: int) -> Text:
    """Return how much of a limit is used, as a bar and a percentage (rounded down)."""
    percent = 100 * used // limit if limit else 100
    filled = min(GAUGE_CHARACTERS, GAUGE_CHARACTERS * used // limit) if limit else GAUGE_CHARACTERS
    style = "red" if percent >= _PERCENT_FULL else "yellow" if percent >= _PERCENT_WARNING else "green"
    return Text.assemble(("█" * filled, style), ("░" * (GAUGE_CHARACTERS - filled), "dim"), f" {percent:3d} %")


def size(number_bytes: int) -> str:
    """Return a size for people: 512 B, 12.3 KiB, 4.0 MiB."""
    if number_bytes < _KIB:
        return f"{number_bytes} B"
    if number_bytes < _KIB * _KIB:
        return f"{number_bytes / _KIB:.1f} KiB"
    return f"{number_bytes / _KIB / _KIB:.1f} MiB"


def when(instant: datetime | None) -> str:
    """Return an instant: how long ago at a terminal, RFC 3339 in a pipe, empty for none."""
    if instant is None:
        return ""
    if not is_terminal():
        return instant.isoformat().replace("+00:00", "Z")
    return _distance(instant, datetime.now(UTC))


def _distance(instant: datetime, now: datetime) -> str:
    seconds = int((now - instant).total_seconds())
    ago, distance = seconds >= 0, abs(seconds)
    for unit, length in _SECONDS_PER_UNIT:
        if distance >= length:
            return f"{distance // length}{unit} ago" if ago else f"in {distance // length}{unit}"
    return f"{distance}s ago" if ago else f"in {distance}s"


def status(text: str) -> Text:
    """Return the status of a cast in its colour."""
    return Text(text, style=STATUS_STYLES.get(text, ""))


def silence_stdout() -> None:
    """Let nothing more reach standard output: whoever read it has left, and Python would complain when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _clean(cell: Cell) -> Text:
    """Return the cell in one line without control characters: names are other people's, and may move a cursor."""
    if isinstance(cell, Text):
        return cell
    words = " ".join(cell.split())
    return Text("".join(character if character.isprintable() else "\ufffd" for character in words))


def _width(columns: Sequence[Column], cells: Sequence[Sequence[Text]], index: int) -> int:
    return max(len(columns[index].title), *(row[index].cell_len for row in cells))


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[Text]], width: int) -> dict[int, int]:
    """Return how wide each column is that is shown: the least important go until the rest fits, cut ones counted in."""
    kept = list(range(len(columns)))
    while True:
        needed = sum(_least_width(columns, cells, index) + _GAP_CHARACTERS for index in kept)
        droppable = [index for index in kept if columns[index].importance]
        if needed <= width or not droppable:
            break
        kept.remove(max(droppable, key=lambda index: columns[index].importance))
    whole = {index: _width(columns, cells, index) for index in kept}
    cut = sorted((index for index in kept if columns[index].shrinks), key=lambda index: whole[index])
    room = width - sum(whole[index] for index in kept if index not in cut) - _GAP_CHARACTERS * len(kept)
    for done, index in enumerate(cut):
        # The short ones take what they need, the long ones share what is left.
        whole[index] = min(whole[index], max(room // (len(cut) - done), _least_width(columns, cells, index)))
        room -= whole[index]
    return whole


def _least_width(columns: Sequence[Column], cells: Sequence[Sequence[Text]], index: int) -> int:
    whole = _width(columns, cells, index)
    return min(whole, _SHRUNK_CHARACTERS_MIN) if columns[index].shrinks else whole


def print_output(output: bytes, encoding: str | None) -> None:
    """Print what a spell wrote: its bytes (JSON in a line) in a pipe; at a terminal JSON indented, bytes not at all."""
    if not is_terminal():
        sys.stdout.buffer.write(output + b"\n" if encoding == "json" else output)
        sys.stdout.buffer.flush()
        return
    if encoding == "base64":
        say(f"{size(len(output))} of bytes, not for a terminal; add > FILE", style="dim")
        return
    click.echo(_indented(output) if encoding == "json" else safe_lines(output.decode("utf-8", "replace")))


def safe_lines(text: str) -> str:
    """Return text of a stranger's for a terminal: without the characters that move its cursor or change its state."""
    return "".join(character if character.isprintable() or character in "\n\t" else "\ufffd" for character in text)


def _indented(output: bytes) -> str:
    try:
        return msgspec.json.format(output, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return safe_lines(output.decode("utf-8", "replace"))
