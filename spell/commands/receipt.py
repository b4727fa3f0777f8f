"""`spell receipt`: what a cast was charged for, and whether the platform really said so."""

from pathlib import Path
from typing import Final

import click
from rich_click import RichCommand, RichGroup

from spell.client import Client
from spell.commands.platform import platform, platform_options
from spell.exits import EXIT_USAGE, CommandError
from spell.models.receipts import KeySet, Line, Receipt, SignedReceipt
from spell.receipts import read_keys, verify
from spell.screen import dollars, print_facts, print_json, say, when

_KEYS_HELP: Final = "The platform's keys, saved from /.well-known/jwks.json; else they are asked for."


@click.group(cls=RichGroup)
def receipt() -> None:
    """Show the receipt of a cast, or prove one."""


@receipt.command(cls=RichCommand)
@platform_options
@click.argument("cast_id", metavar="ID")
def show(*, url: str | None, as_json: bool, cast_id: str) -> None:
    """Show what a cast held and was charged; --json prints it as signed, to be kept."""
    with platform(url) as client:
        signed = client.casts.receipt(cast_id)
    if as_json:
        print_json(signed)
        return
    print_facts(_facts(signed.read()))


@receipt.command(name="verify", cls=RichCommand)
@click.option("--keys", "keys_path", type=click.Path(dir_okay=False, path_type=Path), help=_KEYS_HELP)
@platform_options
@click.argument("what", metavar="FILE|ID")
def verify_(*, keys_path: Path | None, url: str | None, as_json: bool, what: str) -> None:
    """Check that the platform signed a receipt, saved in FILE or that of the cast ID, and that nothing in it changed.

    With a FILE and --keys nothing is asked of any platform.
    """
    path = Path(what)
    if path.exists() and keys_path is not None:
        found = verify(_read(path), read_keys(_read(keys_path)))
    else:
        with platform(url) as client:
            document = _read(path) if path.exists() else client.casts.receipt(what)
            found = _verified(client, document, None if keys_path is None else read_keys(_read(keys_path)))
    if as_json:
        print_json(found)
        return
    print_facts(_facts(found))
    say(f"signed by {found.issuer}", style="green")


def _verified(client: Client, document: bytes | SignedReceipt, keys: KeySet | None) -> Receipt:
    return client.casts.verify_receipt(document) if keys is None else verify(document, keys)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise CommandError(message, exit_code=EXIT_USAGE) from error


def _facts(found: Receipt) -> list[tuple[str, str]]:
    hold = found.hold
    facts = [
        ("cast", found.cast_id),
        ("spell", f"{found.spell}@{found.version}"),
        ("ended", f"{found.status} {when(found.finished_at)}"),
        ("held", dollars(hold.held_micros)),
        *((_NAMES.get(line.what, line.what), _line(line)) for line in found.lines),
        ("charged", f"{dollars(hold.captured_micros)} ({found.funding})"),
        ("released", dollars(hold.released_micros)),
        ("why", hold.reason),
    ]
    if found.refund is not None:
        back = found.refund
        facts.append(("paid back", f"{dollars(back.amount_micros)} {when(back.refunded_at)}: {back.reason}"))
    return facts


_NAMES: Final = {"output_kib": "output, KiB"}


def _line(line: Line) -> str:
    quantity = "unknown" if line.quantity is None else f"{line.quantity:,}"
    waived = "" if line.charged else ", not charged"
    return f"{dollars(line.amount_micros)} for {quantity}{waived}"
