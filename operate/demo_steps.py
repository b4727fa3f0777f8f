"""The steps of the demo, one function each, told in order by `operate.demo`."""

import base64
import struct
import time
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx
import msgspec
from rich.console import Console
from rich.json import JSON
from rich.markup import escape
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from operate import demo_client as api
from operate.demo_spells import FROM_SOURCE, NAMES, SPELLS, BuildFailedError, Example, built, can_build, shipped
from spell.cli import CommandError

CASTS: Final = 1_000
# One request carries a hundred casts, each with a verdict of its own; one by one, this client would take the time.
BATCH: Final = 100
LOOK_EVERY_S: Final = 0.05
MANY_SECONDS_MAX: Final = 120
# One cent: nine casts of `hello` can be held under it.
BUDGET_CENTS: Final = 1
REFUSED_AFTER_MAX: Final = 50
MICROS_PER_CENT: Final = 10_000
LEDGER_ROWS_SHOWN_MAX: Final = 8
DIGEST_CHARACTERS_SHOWN: Final = 8
_PNG_HEADER: Final = b"\x89PNG\r\n\x1a\n"
_PNG_SIZE_AT: Final = 16


class _Count(msgspec.Struct, frozen=True):
    word: str
    count: int


class _Statistics(msgspec.Struct, frozen=True):
    words: int
    unique_words: int
    sentences: int
    reading_seconds: int
    top_words: list[_Count]


def publish_examples(console: Console, client: httpx.Client) -> None:
    """Publish every example, one of them built from source."""
    table = Table(title="Spells in the store", title_justify="left")
    for heading in ("spell", "module", "bytes", "sha256", ""):
        table.add_column(heading, justify="right" if heading == "bytes" else "left", no_wrap=True)
    with _progress(console) as progress:
        task = progress.add_task("publishing", total=len(NAMES))
        for name in NAMES:
            progress.update(task, description=f"publishing {name}")
            example = _example(progress, task, name)
            version, outcome = api.publish(client, name, example.version, example.module)
            table.add_row(
                f"dev/{name}@{version.version}",
                example.made,
                f"{version.size_bytes:,}",
                version.digest.removeprefix("sha256:")[:DIGEST_CHARACTERS_SHOWN],
                outcome,
            )
            progress.advance(task)
    console.print(table)


def _example(progress: Progress, task: TaskID, name: str) -> Example:
    if name != FROM_SOURCE or not can_build():
        return shipped(name)
    progress.update(task, description=f"building {name} from its C source")
    try:
        return built(name)
    except BuildFailedError as error:
        progress.console.print(
            f"[yellow]{escape(str(error))}[/]; the shipped module is published instead", soft_wrap=True
        )
        return shipped(name)


def cast_text(console: Console, client: httpx.Client) -> None:
    """Cast the spell that was built on a real text."""
    sample = SPELLS / "samples" / "lighthouse.txt"
    text = sample.read_text(encoding="utf-8")
    result = api.cast(client, {"spell": f"dev/{FROM_SOURCE}", "input": {"text": text, "top_words": 5}})
    console.print(f"[bold]text-statistics[/] on {sample.name} ({len(text):,} characters) says")
    words = msgspec.convert(result.output, _Statistics)
    console.print(
        f"  {words.words} words, {words.unique_words} of them different, in {words.sentences} sentences; "
        f"{words.reading_seconds} seconds to read"
    )
    console.print("  most used: " + ", ".join(f"{top.word} ({top.count})" for top in words.top_words))
    console.print(_receipt(result))


def cast_image(console: Console, client: httpx.Client, data_folder: Path) -> None:
    """Cast a spell written in Go on a real picture, and keep what comes back."""
    sample = SPELLS / "samples" / "julia.png"
    picture = sample.read_bytes()
    order = {"spell": "dev/thumbnail", "input_base64": base64.b64encode(picture).decode("ascii")}
    result = api.cast(client, order)
    target = data_folder / "thumbnail.png"
    target.write_bytes(result.output_bytes)
    small = result.output_bytes
    console.print(
        f"[bold]thumbnail[/] made of {sample.name} ({_size_of(picture)}, {len(picture):,} bytes) "
        f"a picture of {_size_of(small)}, {len(small):,} bytes: {target}",
        soft_wrap=True,
    )
    console.print(_receipt(result))


def cast_many(console: Console, client: httpx.Client) -> None:
    """Cast a thousand times, each cast with a hold, a sandbox and a bill of its own."""
    started = time.monotonic()
    ids: list[str] = []
    with _progress(console) as progress:
        task = progress.add_task("casting", total=CASTS)
        for first in range(0, CASTS, BATCH):
            orders = [{"spell": "dev/hello", "input": f"caller {number}"} for number in range(first, first + BATCH)]
            ids += api.cast_batch(client, orders)
            progress.update(task, completed=max(0, len(ids) - api.open_casts(client)))
        while open_casts := api.open_casts(client):
            progress.update(task, completed=max(0, len(ids) - open_casts))
            if time.monotonic() - started > MANY_SECONDS_MAX:
                message = f"{open_casts} casts are still open after {MANY_SECONDS_MAX} s: look into the logs"
                raise CommandError(message)
            time.sleep(LOOK_EVERY_S)
        took_seconds = time.monotonic() - started
        progress.update(task, completed=CASTS)
    cost_micros = sum(cast.cost.cost_micros or 0 for cast in api.casts_of(client, ids))
    console.print(
        f"[bold]{CASTS:,} casts[/] held for, run, settled and billed in {took_seconds:.1f} s: "
        f"[bold green]{CASTS / took_seconds:,.0f} a second[/], {_dollars(cost_micros)} in all"
    )


def reach_budget(console: Console, client: httpx.Client) -> None:
    """Make a key that may spend a cent a month, and cast with it until that is held."""
    body = {"name": "demo: one cent a month", "budget": {"hard_limit_cents": BUDGET_CENTS, "period": "monthly"}}
    answer = api.accepted(client.post("/v1/keys", json=body, headers=api.once()))
    key = msgspec.json.decode(answer.content, type=api.NewKey)
    try:
        for accepted in range(REFUSED_AFTER_MAX):
            answer = client.post(
                "/v1/cast",
                json={"spell": "dev/hello", "input": "Ada"},
                headers={**api.bearer(key.key), **api.once()},
            )
            if answer.status_code == HTTPStatus.PAYMENT_REQUIRED:
                _show_refusal(console, accepted, answer)
                return
            api.accepted(answer)
    finally:
        api.accepted(client.delete(f"/v1/keys/{key.prefix}"))
    message = f"a budget of {BUDGET_CENTS} cent let {REFUSED_AFTER_MAX} casts through: please report this"
    raise CommandError(message)


def _show_refusal(console: Console, accepted: int, answer: httpx.Response) -> None:
    console.print(
        f"A key with a budget of {BUDGET_CENTS} cent ({BUDGET_CENTS * MICROS_PER_CENT:,} micros) a month cast "
        f"{accepted} times; the next cast is refused before it runs:"
    )
    body = JSON(answer.text).text
    body.no_wrap, body.overflow = False, "fold"
    console.print(Panel(body, title="402 Payment Required", title_align="left", border_style="yellow", expand=False))


def balance_books(console: Console, client: httpx.Client, admin_secret: str) -> None:
    """Show that every micro that was moved left one place and reached another."""
    answer = api.accepted(client.get("/admin/ledger/trial-balance", headers={"X-Admin-Secret": admin_secret}))
    books = msgspec.json.decode(answer.content, type=api.TrialBalance)
    if books.sum_micros:
        message = f"the ledger sums to {books.sum_micros} micros, not to zero: please report this"
        raise CommandError(message)
    table = Table(title="Trial balance, in micros of a US dollar", title_justify="left")
    table.add_column("account")
    table.add_column("debit", justify="right")
    table.add_column("credit", justify="right")
    for row in books.data[:LEDGER_ROWS_SHOWN_MAX]:
        table.add_row(row.name, f"{row.debit_micros:,}", f"{row.credit_micros:,}")
    console.print(table)
    console.print("All credits minus all debits: [bold green]0 micros[/]. Nothing is lost, nothing is made up.")


def _receipt(result: api.Cast) -> str:
    usage, cost = result.usage, result.cost
    return (
        f"[dim]cast {result.id}: {usage.fuel or 0:,} fuel, {usage.duration_ms or 0:.1f} ms in the sandbox; "
        f"{cost.held_micros:,} micros were held, {cost.cost_micros or 0:,} charged[/]"
    )


def _size_of(picture: bytes) -> str:
    """Return width and height of a PNG."""
    assert picture.startswith(_PNG_HEADER), "the spell answers a PNG with a PNG"
    width, height = struct.unpack_from(">II", picture, _PNG_SIZE_AT)
    return f"{width} x {height}"


def _dollars(micros: int) -> str:
    return f"${micros // 1_000_000}.{micros % 1_000_000:06d}"


def _progress(console: Console) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True)
