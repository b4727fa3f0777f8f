"""`spell webhooks`: where events go, what became of each, and events on one's own machine."""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Final

import click
from rich_click import RichCommand, RichGroup

from spell.client import Client
from spell.commands.listen import listen
from spell.commands.platform import platform, platform_options, rows_option
from spell.exits import EXIT_NOT_FOUND, CommandError
from spell.models.webhooks import Delivery, WebhookEndpoint
from spell.screen import Cell, Column, print_done, print_json, print_rows, say, when

_PAGE_MAX: Final = 100
_STATES: Final = ("pending", "delivered", "failed", "canceled")
_ENDPOINTS: Final = (
    Column(title="id"),
    Column(title="url", shrinks=True),
    Column(title="events", shrinks=True, importance=2),
    Column(title="state"),
    Column(title="made", importance=1),
)
_DELIVERIES: Final = (
    Column(title="id"),
    Column(title="event"),
    Column(title="status"),
    Column(title="attempts", right=True, importance=2),
    Column(title="last answer", shrinks=True),
    Column(title="made", importance=1),
)


@click.group(cls=RichGroup)
def webhooks() -> None:
    """Tell your own servers of events; see what arrived; listen here."""


@webhooks.command(cls=RichCommand)
@click.option("--event", "events", multiple=True, help="Like cast.*; may be given again. Default: all.")
@click.option("--description", default="", help="What it is for.")
@click.option("--test", is_flag=True, help="Tell it of the casts of test keys, and of nothing else.")
@platform_options
@click.argument("address", metavar="ADDRESS")
def create(
    *, events: tuple[str, ...], description: str, test: bool, url: str | None, as_json: bool, address: str
) -> None:
    """Tell ADDRESS (https://...) of events from now on, and print the secret that verifies them."""
    with platform(url) as client:
        made = client.webhooks.create(
            address, event_types=events or ("*",), description=description, mode="test" if test else "live"
        )
    if as_json:
        print_json(made)
        return
    click.echo(made.secret)
    say(f"{made.id} tells {made.url} of {' '.join(made.event_types)}; verify with this secret: spell.webhooks.verify")


@webhooks.command(name="list", cls=RichCommand)
@platform_options
def list_(*, url: str | None, as_json: bool) -> None:
    """List where events go."""
    with platform(url) as client:
        found = list(client.webhooks.list())
    if as_json:
        print_json(found)
        return
    print_rows(
        _ENDPOINTS, [_endpoint(one) for one in found], empty="Nobody is told. Begin: spell webhooks create https://..."
    )


@webhooks.command(cls=RichCommand)
@platform_options
@click.argument("webhook_id", metavar="ID")
def delete(*, url: str | None, as_json: bool, webhook_id: str) -> None:
    """Tell an endpoint nothing more."""
    with platform(url) as client:
        client.webhooks.delete(webhook_id)
    print_done(webhook_id, "deleted", as_json=as_json)


@webhooks.command(cls=RichCommand)
@platform_options
@click.option(
    "--grace", "grace_s", type=click.IntRange(min=0), help="Seconds the old one signs as well. Default: a day."
)
@click.argument("webhook_id", metavar="ID")
def rotate(*, grace_s: int | None, url: str | None, as_json: bool, webhook_id: str) -> None:
    """Give an endpoint a new secret and print it. For a while the old one signs as well."""
    with platform(url) as client:
        rotated = client.webhooks.rotate_secret(webhook_id, grace_s=grace_s)
    if as_json:
        print_json(rotated)
        return
    click.echo(rotated.secret)


@webhooks.command(cls=RichCommand)
@click.option("--status", type=click.Choice(_STATES), help="Only these.")
@rows_option
@platform_options
@click.argument("webhook_id", metavar="ID")
def deliveries(*, status: str | None, rows_max: int, url: str | None, as_json: bool, webhook_id: str) -> None:
    """List what was sent to an endpoint, newest first, and how it answered."""
    with platform(url) as client:
        pages = client.webhooks.deliveries(webhook_id, status=status, page_size=min(rows_max, _PAGE_MAX))
        found = list(islice(pages, rows_max))
    if as_json:
        print_json(found)
        return
    print_rows(_DELIVERIES, [_delivery(one) for one in found], empty="Nothing was sent.")


@webhooks.command(cls=RichCommand)
@click.option("--since", type=click.DateTime(), help="All it missed since then (UTC), instead of one delivery.")
@platform_options
@click.argument("webhook_id", metavar="ID")
@click.argument("delivery_id", metavar="DELIVERY", required=False)
def redeliver(
    *, since: datetime | None, url: str | None, as_json: bool, webhook_id: str, delivery_id: str | None
) -> None:
    """Send one delivery again, or with --since everything the endpoint missed."""
    if (since is None) == (delivery_id is None):
        message = "name one DELIVERY (`spell webhooks deliveries` shows them), or give --since"
        raise click.UsageError(message)
    with platform(url) as client:
        if since is not None:
            _redeliver_missed(client, webhook_id, since.replace(tzinfo=UTC), as_json=as_json)
            return
        again = client.webhooks.redeliver(_find(client.webhooks.deliveries(webhook_id), str(delivery_id)))
    if as_json:
        print_json(again)
        return
    say(f"{again.event_type} is sent again to {again.url}; see it with: spell webhooks deliveries {webhook_id}")


def _redeliver_missed(client: Client, webhook_id: str, since: datetime, *, as_json: bool) -> None:
    total = 0
    while True:
        answer = client.webhooks.redeliver_missed(webhook_id, since=since)
        total += answer.redelivered
        if not answer.has_more:
            break
    if as_json:
        print_json({"redelivered": total})
    else:
        say(f"{total} events are sent again")


def _find(found: Iterable[Delivery], delivery_id: str) -> Delivery:
    for delivery in found:
        if delivery.id == delivery_id:
            return delivery
    message = f"there is no delivery {delivery_id}; `spell webhooks deliveries` shows them"
    raise CommandError(message, exit_code=EXIT_NOT_FOUND)


def _endpoint(one: WebhookEndpoint) -> tuple[Cell, ...]:
    state = "failing" if one.failing_since else "good"
    if one.disabled_at is not None:
        state = f"off ({one.disabled_reason})"
    return one.id, one.url, " ".join(one.event_types), state, when(one.created_at)


def _delivery(one: Delivery) -> tuple[Cell, ...]:
    last = one.attempt_log[-1] if one.attempt_log else None
    answer = "" if last is None else last.error or f"{last.status_code} after {last.duration_ms} ms"
    return one.id, one.event_type, one.status, str(one.attempts), answer, when(one.created_at)


webhooks.add_command(listen)
