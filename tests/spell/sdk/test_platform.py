"""Both clients against the whole platform: what a user does in a day, and what the network does to it."""

import asyncio
import itertools
import json
from collections.abc import Callable, Generator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from local.servers import Servers
from spell import (
    ApiError,
    AsyncClient,
    BudgetExceeded,
    CastFailed,
    CastRequest,
    Client,
    Conflict,
    Forbidden,
    IdempotencyKeyReused,
    Limits,
    NotFound,
    PriceChanged,
    Unauthorized,
    ValidationError,
    WaitTimedOut,
    webhooks,
)
from tests.api.modules import module
from tests.servers import TestDatabases
from tests.spell.sdk.clients import Do
from tests.spell.sdk.servers import CuttingProxy, closing
from tests.stack import Stack, run_fresh_stack


@pytest.fixture(scope="module")
def stack(
    test_databases: TestDatabases,
    template_database_url: str,
    servers: Servers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with run_fresh_stack(test_databases, template_database_url, servers, folder) as running:
        yield running


@pytest.fixture
def key(stack: Stack) -> str:
    """The key of an account of the test's own."""
    return stack.account().key


@pytest.fixture
def client(stack: Stack, key: str) -> Generator[Client]:
    with httpx.Client(trust_env=False) as http, Client(api_key=key, base_url=stack.url, http_client=http) as client:
        yield client


@pytest.fixture
def proxy(stack: Stack) -> Generator[CuttingProxy]:
    parts = urlsplit(stack.url)
    assert parts.hostname is not None
    assert parts.port is not None
    with closing(CuttingProxy((parts.hostname, parts.port))) as cutting:
        yield cutting


def test_a_cast_gives_what_the_spell_wrote_and_says_what_it_cost(stack: Stack, key: str, do: Do) -> None:
    value = {"words": ["ä", 1, None]}
    cast = do(stack.url, lambda client: client.cast("dev/echo@1", value, metadata={"order": 17}), key=key)
    assert cast.result() == cast.output == value
    assert cast.cost.cost_micros == 1001
    assert cast.cost.held_micros >= cast.cost.cost_micros
    assert cast.usage.fuel > 0
    assert do(stack.url, lambda client: client.cast("dev/empty"), key=key).result() == ""
    assert do(stack.url, lambda client: client.cast("dev/echo", None), key=key).result() is None
    assert (cast.spell, cast.version, cast.metadata) == ("dev/echo", "1.0.0", {"order": 17})


def test_bytes_go_in_and_come_out_as_they_are(stack: Stack, key: str, do: Do) -> None:
    raw = bytes(range(256))
    cast = do(stack.url, lambda client: client.cast("dev/echo", raw), key=key)
    assert (cast.output, cast.output_encoding) == (raw, "base64")


def test_a_cast_that_failed_is_a_value_whose_result_raises(client: Client) -> None:
    cast = client.cast("dev/fail")
    assert (cast.status, cast.exit_code) == ("failed", 3)
    with pytest.raises(CastFailed, match="exit_nonzero") as caught:
        cast.result()
    assert (caught.value.cast, caught.value.code) == (cast, "exit_nonzero")
    assert client.casts.log(cast) == b"No."


def test_a_cast_can_be_left_waited_for_and_canceled(client: Client) -> None:
    cast = client.casts.cast_async("dev/spin", limits=Limits(wall_ms=60_000, fuel=10**12))
    assert not cast.is_final
    with pytest.raises(WaitTimedOut) as caught:
        client.casts.wait(cast, timeout_s=0.2)
    assert caught.value.cast.id == cast.id
    client.casts.cancel(cast)
    assert client.casts.wait(cast.id).status == "canceled"


def test_a_waiting_cast_returns_unfinished_when_its_time_is_up(stack: Stack, key: str, do: Do) -> None:
    limits = Limits(wall_ms=60_000, fuel=10**12)
    cast = do(stack.url, lambda client: client.cast("dev/spin", limits=limits, wait_s=0), key=key)
    assert not cast.is_final
    assert do(stack.url, lambda client: client.casts.cancel(cast), key=key).id == cast.id


def test_every_refusal_is_an_error_of_its_own(client: Client, stack: Stack) -> None:
    with pytest.raises(NotFound):
        client.cast("dev/no-such-spell")
    with pytest.raises(ValidationError) as invalid:
        client.cast("dev/echo", limits=Limits(fuel=0))
    assert invalid.value.faults[0].location == "limits.fuel"
    with pytest.raises(PriceChanged) as price:
        client.cast("dev/echo", max_price_micros=1)
    assert price.value.price_micros == client.cast("dev/echo").cost.held_micros
    with pytest.raises(Forbidden):
        client.keys.create("another")
    client.cast("dev/echo", 1, idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused):
        client.cast("dev/echo", 2, idempotency_key="k")
    with httpx.Client(trust_env=False) as http, pytest.raises(Unauthorized) as unauthorized:
        Client(api_key="sk_live_no", base_url=stack.url, http_client=http).cast("dev/echo")
    assert unauthorized.value.request_id


def test_a_budget_without_room_refuses_and_says_which(client: Client) -> None:
    budget = client.budgets.create(hard_limit_cents=0, period="daily")
    with pytest.raises(BudgetExceeded) as caught:
        client.cast("dev/echo")
    assert (caught.value.limit_id, caught.value.period, caught.value.limit_micros) == (budget.id, "daily", 0)
    assert client.budgets.get(budget.id) == client.budgets.list().data[0]
    assert client.budgets.usage().spent_micros == 0
    lowered = client.budgets.set_own(hard_limit_cents=100)
    assert client.budgets.update(lowered.id, hard_limit_cents=50).hard_limit_micros == 500_000
    with pytest.raises(Forbidden):
        client.budgets.delete(budget.id)


def test_holds_show_what_open_casts_hold(client: Client) -> None:
    cast = client.casts.cast_async("dev/spin", limits=Limits(wall_ms=60_000, fuel=10**12))
    summary = client.holds.summary()
    assert (summary.open_casts, summary.held_micros) == (1, cast.cost.held_micros)
    assert [hold.cast_id for hold in client.holds.list()] == [cast.id]
    client.casts.cancel(cast)


def test_a_key_says_whose_it_is(stack: Stack, key: str, do: Do) -> None:
    me = do(stack.url, lambda client: client.account.whoami(), key=key)
    assert key.startswith(str(me.key_prefix))


def test_usage_adds_up_in_every_view(stack: Stack, key: str, do: Do) -> None:
    def own(call: Callable[[Any], Any]) -> Any:
        return do(stack.url, call, key=key)

    costs = [own(lambda client: client.cast("dev/echo", 1)).cost.cost_micros for _ in range(2)]
    used = own(lambda client: client.usage.now())
    assert (used.casts, used.cost_micros, used.held_micros) == (2, sum(costs), 0)
    assert own(lambda client: client.usage.trends())[-1].cost_micros == sum(costs)
    for by in ("spell", "key", "day"):
        parts = own(lambda client, by=by: client.usage.breakdown(by=by, month=used.month))
        assert sum(part.cost_micros for part in parts.data) == parts.total.cost_micros == sum(costs)
    lines = own(lambda client: client.usage.export()).decode().splitlines()
    assert (len(lines), "cost_micros" in lines[0]) == (3, True)
    assert len(json.loads(own(lambda client: client.usage.export(format="json")))["data"]) == 2


def test_a_batch_gives_each_its_own_verdict(stack: Stack, key: str, do: Do) -> None:
    wanted = [CastRequest("dev/echo", 1), CastRequest("dev/nobody"), CastRequest("dev/echo", 3)]
    first, second, third = do(stack.url, lambda client: client.casts.batch(wanted), key=key)
    assert isinstance(second.error, NotFound)
    outputs = [
        do(stack.url, lambda client, one=one: client.casts.wait(one.accepted()), key=key) for one in (first, third)
    ]
    assert [cast.output for cast in outputs] == [1, 3]


def test_pages_list_every_cast_exactly_once(client: Client, stack: Stack, key: str, do: Do) -> None:
    made = [verdict.accepted().id for verdict in client.casts.batch([CastRequest("dev/empty")] * 250)]
    assert len(set(made)) == 250
    listed = [cast.id for cast in do(stack.url, lambda client: client.casts.list(page_size=100), key=key)]
    assert listed == sorted(made, reverse=True)
    by_seven = client.casts.list(spell="dev/empty", created_after=client.casts.get(min(made)).created_at, page_size=7)
    assert [cast.id for cast in by_seven] == listed
    assert [len(page.data) for page in client.casts.list(page_size=100).pages()] == [100, 100, 50]
    assert list(client.casts.list(spell="dev/echo")) == []
    stack.settle_all()
    assert len(list(client.casts.list(status="succeeded"))) == 250


def test_a_cast_whose_answer_was_lost_is_made_and_charged_once(
    stack: Stack, proxy: CuttingProxy, key: str, do: Do
) -> None:
    proxy.cuts.extend([b"", b"HTTP/1.1 200", b'"status":'])
    cast = do(proxy.url, lambda client: client.cast("dev/echo", 7), key=key)
    assert (cast.result(), proxy.cuts_made) == (7, 3)
    casts = do(stack.url, lambda client: client.casts.list(), key=key)
    assert [listed.id for listed in casts] == [cast.id]
    usage = do(stack.url, lambda client: client.budgets.usage(), key=key)
    assert (usage.spent_micros, usage.held_micros) == (cast.cost.cost_micros, 0)


def test_a_batch_whose_answer_was_lost_is_made_once(stack: Stack, proxy: CuttingProxy, key: str, do: Do) -> None:
    proxy.cuts.append(b"")
    wanted = [CastRequest("dev/echo" if number % 5 else "dev/nobody", number) for number in range(20)]
    verdicts = do(proxy.url, lambda client: client.casts.batch(wanted), key=key)
    assert proxy.cuts_made == 1
    refused = [(place, one.error.code) for place, one in enumerate(verdicts) if isinstance(one.error, ApiError)]
    assert refused == [(place, "refused_before") for place in (0, 5, 10, 15)]
    made = [one.accepted().id for one in verdicts if one.cast is not None]
    assert sorted(cast.id for cast in do(stack.url, lambda client: client.casts.list(), key=key)) == sorted(made)


def running_spin(client: Client) -> str:
    cast = client.casts.cast_async("dev/spin", limits=Limits(wall_ms=60_000, fuel=10**12))
    with client.casts.events(cast) as events:
        assert [event.type for event in itertools.takewhile(lambda event: event.type != "running", events)] in (
            ["queued"],
            [],
        )
    return cast.id


# Cut in the middle of an event; right behind it; in the middle of the last one, and then at once.
CUTS: list[list[bytes]] = [[b"event: run"], [b"}\n\n"], [b"}\n\n", b"event: can", b"retry"], [b"", b"", b"data: {"]]


@pytest.mark.parametrize("cuts", CUTS)
def test_a_stream_that_is_cut_loses_no_event(client: Client, proxy: CuttingProxy, key: str, cuts: list[bytes]) -> None:
    cast_id = running_spin(client)
    proxy.cuts.extend(cuts)
    seen: list[str] = []
    with (
        httpx.Client(trust_env=False) as http,
        Client(api_key=key, base_url=proxy.url, http_client=http, sleep=lambda _seconds: None) as cut,
        cut.casts.events(cast_id) as events,
    ):
        for event in events:
            seen.append(event.type)
            assert event.cast.status == event.type
            if event.type == "running":
                client.casts.cancel(cast_id)
    assert seen == ["running", "canceled"]
    assert proxy.cuts_made == len(cuts)


async def test_a_stream_that_is_cut_loses_no_event_for_the_asynchronous_client_either(
    client: Client, proxy: CuttingProxy, key: str
) -> None:
    cast_id = await asyncio.to_thread(running_spin, client)
    proxy.cuts.extend([b"}\n\n", b"event: can"])
    seen: list[str] = []

    async def no_sleep(_seconds: float) -> None:
        await asyncio.sleep(0)

    async with (
        httpx.AsyncClient(trust_env=False) as http,
        AsyncClient(api_key=key, base_url=proxy.url, http_client=http, sleep=no_sleep) as cut,
        cut.casts.events(cast_id) as events,
    ):
        async for event in events:
            seen.append(event.type)
            if event.type == "running":
                await cut.casts.cancel(cast_id)
    assert seen == ["running", "canceled"]


def test_a_spell_is_published_read_changed_and_retired(stack: Stack) -> None:
    with (
        httpx.Client(trust_env=False) as http,
        Client(api_key=stack.owner_key, base_url=stack.url, http_client=http) as owner,
    ):
        made = owner.spells.publish("dev/sdk", "1.0.0", module(1), {"description": "Made by a test", "tags": ["sdk"]})
        assert (made.version, made.manifest["description"]) == ("1.0.0", "Made by a test")
        assert (
            owner.spells.publish("dev/sdk", "1.0.0", module(1), {"description": "Made by a test", "tags": ["sdk"]})
            == made
        )
        with pytest.raises(Conflict):
            owner.spells.publish("dev/sdk", "1.0.0", module(2))
        second = owner.spells.publish("dev/sdk", "1.1.0", module(2))
        assert owner.spells.module("dev/sdk", "1.1.0") == module(2)
        assert [version.version for version in owner.spells.versions("dev/sdk")] == ["1.1.0", "1.0.0"]
        assert owner.spells.version("dev/sdk", "1") == owner.spells.get("dev/sdk").latest == second
        assert owner.spells.yank("dev/sdk", "1.1.0").yanked
        assert [spell.spell for spell in owner.spells.list(tag="sdk")] == ["dev/sdk"]
        assert owner.spells.edit("dev/sdk", visibility="private").visibility == "private"
        owner.spells.retire("dev/sdk")
        assert [spell.spell for spell in owner.spells.list(query="sdk")] == []
        assert owner.spells.create("sdk-2", description="empty").spell == "dev/sdk-2"
        with pytest.raises(ValidationError, match="module"):
            owner.spells.publish("dev/sdk-2", "1.0.0", b"\x7fELF")


def test_a_key_is_changed_and_rotated_and_both_secrets_cast_for_a_while(stack: Stack, do: Do) -> None:
    def own(call: Callable[[Any], Any]) -> Any:
        return do(stack.url, call, key=stack.owner_key)

    made = own(lambda client: client.keys.create("to rotate", rate_limit_rpm=600, open_casts_max=5))
    changed = own(lambda client: client.keys.update(made.prefix, name="rotated", open_casts_max=None))
    assert (changed.name, changed.rate_limit_rpm, changed.open_casts_max) == ("rotated", 600, None)
    rotated = own(lambda client: client.keys.rotate(made.prefix, grace_s=3600))
    assert (rotated.id, rotated.previous_prefix) == (made.id, made.prefix)
    for key in (made.key, rotated.key):
        assert do(stack.url, lambda client: client.cast("dev/echo", 1), key=key).output == 1
    own(lambda client: client.keys.rotate(rotated.prefix, grace_s=0))
    with pytest.raises(Unauthorized):
        do(stack.url, lambda client: client.cast("dev/echo", 1), key=rotated.key)


def test_a_key_whose_first_answer_was_lost_is_made_once_without_its_secret(
    stack: Stack, proxy: CuttingProxy, do: Do
) -> None:
    proxy.cuts.append(b"")
    name = f"lost-{do.__name__}"
    made = do(proxy.url, lambda client: client.keys.create(name), key=stack.owner_key)
    assert (made.key, made.secret_available, proxy.cuts_made) == (None, False, 1)
    listed = do(stack.url, lambda client: client.keys.list(page_size=2), key=stack.owner_key)
    assert [key.prefix for key in listed if key.name == name] == [made.prefix]


def test_a_webhook_is_made_tried_read_and_deleted(stack: Stack, do: Do) -> None:
    def own(call: Callable[[Any], Any]) -> Any:
        return do(stack.url, call, key=stack.owner_key)

    url = "https://receiver.example/hook"
    made = own(lambda client: client.webhooks.create(url, event_types=["cast.*"], description="a test's"))
    assert own(lambda client: client.webhooks.secret(made.id)).secret == made.secret
    assert made.secret not in repr(made) + repr(own(lambda client: client.webhooks.secret(made.id)))
    rotated = own(lambda client: client.webhooks.rotate_secret(made.id, grace_s=60))
    assert own(lambda client: client.webhooks.secret(made.id)).previous_secret == made.secret != rotated.secret
    sent = own(lambda client: client.webhooks.send_test(made.id))
    assert [delivery.id for delivery in own(lambda client: client.webhooks.deliveries(made.id))] == [sent.id]
    assert own(lambda client: client.webhooks.redeliver(sent)).id == sent.id
    since = sent.created_at
    assert own(lambda client: client.webhooks.redeliver_missed(made.id, since=since)).has_more is False
    changed = own(lambda client: client.webhooks.update(made.id, description="off", disabled=True))
    assert (changed.description, changed.disabled_reason, changed.event_types) == ("off", "owner", ("cast.*",))
    assert own(lambda client: client.webhooks.get(made.id)) == changed
    assert changed in own(lambda client: client.webhooks.list(page_size=1))
    own(lambda client: client.webhooks.delete(made.id))
    with pytest.raises(NotFound):
        own(lambda client: client.webhooks.get(made.id))


def test_where_a_casts_own_webhook_went_is_seen_and_can_be_repeated(stack: Stack, do: Do) -> None:
    def own(call: Callable[[Any], Any]) -> Any:
        return do(stack.url, call, key=stack.owner_key)

    url = "https://receiver.example/hook"
    cast = own(lambda client: client.cast("dev/echo", 1, webhook_url=url))
    (sent,) = own(lambda client: client.casts.deliveries(cast))
    assert (sent.url, sent.cast_id, sent.event_type) == (url, cast.id, "cast.succeeded")
    assert own(lambda client: client.webhooks.redeliver(sent)).id == sent.id


def test_events_that_are_followed_verify_with_the_accounts_secret(stack: Stack, do: Do) -> None:
    def own(call: Callable[[Any], Any]) -> Any:
        return do(stack.url, call, key=stack.owner_key)

    begun = own(lambda client: client.webhooks.follow())
    cast = own(lambda client: client.cast("dev/echo", [1, 2]))
    types = ["cast.succeeded"]
    followed = own(lambda client: client.webhooks.follow(after=begun.next_cursor, wait_s=60, event_types=types))
    (one,) = followed.data
    event = webhooks.verify(one.body.encode(), one.headers, own(lambda client: client.webhooks.account_secret()).secret)
    assert (event.id, event.type) == (one.id, "cast.succeeded")
    assert event.cast is not None
    assert (event.cast.id, event.cast.result()) == (cast.id, [1, 2])


def test_a_key_made_here_casts_and_a_revoked_one_does_not(stack: Stack, do: Do) -> None:
    made = do(stack.url, lambda client: client.keys.create("for a test", rate_limit_rpm=600), key=stack.owner_key)
    assert made.key.startswith(made.prefix)
    assert made.key not in repr(made)
    assert do(stack.url, lambda client: client.cast("dev/echo", 1), key=made.key).output == 1
    listed: Any = do(stack.url, lambda client: client.keys.list(), key=stack.owner_key)
    assert made.prefix in [key.prefix for key in listed]
    do(stack.url, lambda client: client.keys.revoke(made.prefix), key=stack.owner_key)
    with pytest.raises(Unauthorized):
        do(stack.url, lambda client: client.cast("dev/echo", 1), key=made.key)
