"""`spell webhooks listen`: the account's events as they happen, forwarded to a server on this machine.

The platform reaches no private address, so this program fetches the events and posts them: the very bodies and headers
an endpoint would get, signed with the account's own secret.
"""

from typing import Final

import click
import httpx
from rich_click import RichCommand

from spell.client import Client
from spell.commands.platform import platform, platform_options
from spell.exits import EXIT_USAGE, CommandError
from spell.models.webhooks import FollowedEvent
from spell.screen import print_json, say, stdout

# The platform holds an answer back this long when nothing happens; then it is asked again.
WAIT_S: Final = 30
# A developer's server that stands in a debugger should be given up, not waited for.
FORWARD_TIMEOUT_S: Final = 30.0
_SUCCESS: Final = range(200, 300)


@click.command(cls=RichCommand)
@click.option("--forward-to", metavar="URL", help="Post each event there, like http://localhost:3000/hooks.")
@click.option("--event", "events", multiple=True, help="Like cast.*; may be given again. Default: all.")
@click.option("--count", "count_max", type=click.IntRange(min=1), help="Stop after so many. Default: Ctrl-C stops it.")
@platform_options
def listen(
    *, forward_to: str | None, events: tuple[str, ...], count_max: int | None, url: str | None, as_json: bool
) -> None:
    """Show the account's events as they happen, and forward them, signed, to a server of yours.

    Verify them with the secret that is shown; it stays the same. Events of before are not shown.
    """
    if forward_to is not None and not forward_to.startswith(("http://", "https://")):
        message = f"{forward_to!r} is no URL; write it like http://localhost:3000/hooks"
        raise CommandError(message, exit_code=EXIT_USAGE)
    with platform(url) as client, httpx.Client(timeout=FORWARD_TIMEOUT_S) as http:
        secret = client.webhooks.account_secret().secret
        types = events or ("*",)
        first = client.webhooks.follow(event_types=types)
        say(f"Listening. The secret to verify with is {secret} (Ctrl-C stops)", style="green")
        _follow(client, http, forward_to, first.next_cursor, types=types, count_max=count_max, as_json=as_json)


def _follow(
    client: Client,
    http: httpx.Client,
    forward_to: str | None,
    cursor: str,
    *,
    types: tuple[str, ...],
    count_max: int | None,
    as_json: bool,
) -> None:
    seen = 0
    while count_max is None or seen < count_max:
        page = client.webhooks.follow(after=cursor, wait_s=WAIT_S, event_types=types)
        cursor = page.next_cursor
        for event in page.data:
            answer = None if forward_to is None else _forward(http, forward_to, event)
            _show(event, answer, as_json=as_json)
            seen += 1


def _forward(http: httpx.Client, address: str, event: FollowedEvent) -> str:
    """Post the event as an endpoint would get it; return what came of that."""
    try:
        response = http.post(address, content=event.body.encode(), headers=event.headers, follow_redirects=False)
    except httpx.HTTPError as error:
        return f"no answer ({error or type(error).__name__}): is a server there?"
    return str(response.status_code)


def _show(event: FollowedEvent, answer: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"event": event, "answer": answer})
        return
    console = stdout()
    instant = event.created_at.astimezone() if console.is_terminal else event.created_at
    words = [f"{instant:%H:%M:%S}" if console.is_terminal else instant.isoformat(), event.type, event.id]
    if not console.is_terminal:
        click.echo("\t".join([*words, answer or ""]))
        return
    good = answer is None or (answer.isdigit() and int(answer) in _SUCCESS)
    arrow = "" if answer is None else f"  -> {answer}"
    console.print("  ".join(words) + arrow, style=None if good else "red", markup=False, soft_wrap=True)
