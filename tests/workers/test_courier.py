"""The courier between a real database and real receivers: what is sent, how often, and what becomes of the row."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime
from uuid import UUID, uuid4

import msgspec
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from domain.flow.settle import settle
from domain.model.delivery import ATTEMPTS_MAX, WINDOW_MAX, WINDOW_NEW
from domain.model.webhooks import derive_secret, message_id, secret_text
from domain.store.connection import Role, StoreError, open_pool, transaction
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.world import TOKEN_KEY
from tests.workers.courier_world import CASTS_URL, SIGNING_KEY, Setting, landed, make_setting
from tests.workers.receiver import Received, receiving


@pytest.fixture
async def setting(database_url: str) -> AsyncGenerator[Setting]:
    async with make_setting(database_url) as made:
        yield made


def verified(request: Received, owner_id: UUID, version: int = 1) -> dict:
    """Return the body as a receiver reads it that checks the signature with the standard's own library."""
    secret = secret_text(derive_secret(SIGNING_KEY, owner_id, version))
    return Webhook(secret).verify(request.body, request.headers)


async def test_an_event_arrives_once_signed_for_its_endpoint(setting: Setting) -> None:
    async with receiving() as receiver:
        endpoint_id = await setting.endpoint(receiver.url("/in"))
        (event_id,) = await setting.events(endpoint_id=endpoint_id)
        courier = setting.courier()
        assert [await courier.run_once() for _ in range(2)] == [1, 0]
    (request,) = receiver.received
    told = verified(request, endpoint_id)
    assert (told["type"], told["data"]) == ("webhook.test", {"n": 1})
    assert datetime.fromisoformat(told["timestamp"]).tzinfo is not None
    assert request.headers["webhook-id"] == message_id(event_id)
    assert request.headers["content-type"] == "application/json"
    row = await setting.row(event_id)
    assert (row.status, row.attempts, row.leased) == ("delivered", 1, False)
    assert await setting.log(event_id) == [(1, 200, b"done", None)]
    with pytest.raises(WebhookVerificationError):
        verified(request, uuid4())


async def test_the_log_has_what_was_sent_but_no_signature(setting: Setting) -> None:
    async with receiving() as receiver:
        (event_id,) = await setting.events(endpoint_id=await setting.endpoint(receiver.url("/fail")))
        await setting.courier().run_once()
    ((headers, body),) = await setting.world.rows("SELECT request_headers, response_body FROM outgoing_attempts")
    assert headers["webhook-id"] == message_id(event_id)
    assert set(headers) == {"user-agent", "content-type", "webhook-id", "webhook-timestamp"}
    assert body == (b"broken \x00\xff" + b"e" * 10_000)[:4096]


async def test_the_address_of_a_cast_is_signed_for_its_account_and_told_of_the_cast(setting: Setting) -> None:
    world = setting.world
    async with receiving() as receiver:
        (job,) = await accept(world, setting.pool)
        async with transaction(setting.pool) as connection:
            await settle(connection, [event_of(job)], batch_id=uuid4(), token_key=TOKEN_KEY)
        await world.rows(
            "INSERT INTO outgoing (id, account_id, kind, event_id, event_type, target, cast_id, created_at,"
            " next_attempt_at) VALUES (%s, %s, 'webhook', %s, 'cast.succeeded', %s, %s, now(), now())",
            *(uuid4(), world.account_id, job.cast_id, receiver.url("/in"), job.cast_id),
        )
        await setting.courier().run_once()
    data = verified(receiver.received[0], world.account_id)["data"]
    assert (data["id"], data["status"], data["output"]) == (str(job.cast_id), "succeeded", {"words": 3})
    assert data["urls"]["self"] == f"{CASTS_URL}/{job.cast_id}"
    assert "input" not in data


async def test_an_event_about_a_cast_that_is_gone_is_canceled(setting: Setting) -> None:
    async with receiving() as receiver:
        await setting.world.rows(
            "INSERT INTO outgoing (id, account_id, kind, event_id, event_type, target, cast_id, created_at,"
            " next_attempt_at) VALUES (%s, %s, 'webhook', %s, 'cast.succeeded', %s, %s, now(), now())",
            *(uuid4(), setting.world.account_id, uuid4(), receiver.url("/in"), uuid4()),
        )
        assert await setting.courier().run_once() == 1
    assert receiver.received == []
    assert await setting.statuses() == {"canceled": 1}


async def test_during_a_rotation_both_secrets_sign(setting: Setting) -> None:
    async with receiving() as receiver:
        endpoint_id = await setting.endpoint(receiver.url("/in"))
        await setting.world.rows(
            "UPDATE webhook_endpoints SET secret_version = 3, previous_secret_until = now() + interval '1 day'"
        )
        await setting.events(endpoint_id=endpoint_id)
        await setting.courier().run_once()
        await setting.world.rows("UPDATE webhook_endpoints SET previous_secret_until = now()")
        await setting.events(endpoint_id=endpoint_id)
        await setting.courier().run_once()
    during, after = receiver.received
    assert [verified(during, endpoint_id, version)["type"] for version in (2, 3)] == ["webhook.test"] * 2
    assert verified(after, endpoint_id, 3)
    for request, version in ((during, 1), (after, 2)):
        with pytest.raises(WebhookVerificationError):
            verified(request, endpoint_id, version)


async def test_failures_are_retried_later_and_later_and_then_given_up(setting: Setting) -> None:
    async with receiving() as receiver:
        (event_id,) = await setting.events(endpoint_id=await setting.endpoint(receiver.url("/fail")))
        courier = setting.courier()
        waits: list[float] = []
        for _ in range(ATTEMPTS_MAX):
            assert await courier.run_once() == 1
            waits.append((await setting.row(event_id)).waits_s)
            # The first pause is over before a busy machine has looked.
            if waits[-1] > 30:
                assert await courier.run_once() == 0
            await setting.pass_time()
        assert await courier.run_once() == 0
    assert (await setting.row(event_id)).status == "failed"
    assert len(receiver.received) == ATTEMPTS_MAX == len(await setting.log(event_id))
    assert {request.headers["webhook-id"] for request in receiver.received} == {message_id(event_id)}
    assert waits[:-1] == sorted(waits[:-1])
    assert waits[-2] > 20 * 3600


@pytest.mark.parametrize(("path", "waits_s"), [("/busy", 7_200), ("/limited", 86_400)])
async def test_a_receiver_that_asks_for_patience_gets_it_up_to_a_day(setting: Setting, path: str, waits_s: int) -> None:
    async with receiving() as receiver:
        (event_id,) = await setting.events(endpoint_id=await setting.endpoint(receiver.url(path)))
        await setting.courier().run_once()
    row = await setting.row(event_id)
    assert row.status == "pending"
    assert waits_s - 120 < row.waits_s <= waits_s


@pytest.mark.parametrize("path", ["/redirect", "/reset", "/hang"])
async def test_what_is_no_success_waits_for_a_retry(setting: Setting, path: str) -> None:
    async with receiving() as receiver:
        (event_id,) = await setting.events(endpoint_id=await setting.endpoint(receiver.url(path)))
        await setting.courier(seconds_max=1.0 if path == "/hang" else 30.0).run_once()
    row = await setting.row(event_id)
    assert (row.status, row.attempts, row.leased) == ("pending", 1, False)
    assert row.waits_s < 6


async def test_an_endpoint_that_is_gone_is_disabled_and_its_account_told(setting: Setting) -> None:
    await setting.world.rows(
        "INSERT INTO users (id, account_id, email) VALUES (%s, %s, 'ada@example.com')",
        *(uuid4(), setting.world.account_id),
    )
    async with receiving() as receiver:
        gone = await setting.endpoint(receiver.url("/gone"))
        other = await setting.endpoint(receiver.url("/ok"))
        (event_id,) = await setting.events(endpoint_id=gone)
        courier = setting.courier()
        await courier.run_once()
        assert (await setting.row(event_id)).status == "failed"
        endpoints = await setting.world.rows("SELECT id, disabled_reason FROM webhook_endpoints ORDER BY url")
        assert endpoints == [(gone, "gone"), (other, None)]
        (late,) = await setting.events(endpoint_id=gone)
        await courier.run_once()
        assert (await setting.row(late)).status == "canceled"
        assert receiver.paths() == ["/gone", "/ok"]
    assert msgspec.json.decode(receiver.received[1].body)["type"] == "webhook.disabled"
    mails = await setting.world.rows("SELECT target, event_type, status FROM outgoing WHERE kind = 'mail'")
    assert mails == [("ada@example.com", "webhook.disabled", "failed")]


async def test_an_endpoint_that_fails_for_three_days_is_disabled_once(setting: Setting) -> None:
    async with receiving() as receiver:
        endpoint_id = await setting.endpoint(receiver.url("/fail"))
        await setting.events(2, endpoint_id=endpoint_id)
        courier = setting.courier()
        await courier.run_once()
        ((failing, disabled),) = await setting.world.rows(
            "SELECT failing_since IS NOT NULL, disabled_at FROM webhook_endpoints"
        )
        assert (failing, disabled) == (True, None)
        await setting.world.rows("UPDATE webhook_endpoints SET failing_since = now() - interval '3 days 1 minute'")
        await setting.pass_time()
        await courier.run_once()
        assert await setting.world.rows("SELECT disabled_reason FROM webhook_endpoints") == [("failing",)]
        await setting.pass_time()
        assert [await courier.run_once() for _ in range(2)] == [2, 0]
    assert await setting.statuses() == {"canceled": 2}


async def test_one_success_ends_the_count_of_failing(setting: Setting) -> None:
    async with receiving() as receiver:
        endpoint_id = await setting.endpoint(receiver.url("/ok"))
        await setting.world.rows("UPDATE webhook_endpoints SET failing_since = now() - interval '30 days'")
        await setting.events(endpoint_id=endpoint_id)
        await setting.courier().run_once()
    assert await setting.world.rows("SELECT failing_since, disabled_at FROM webhook_endpoints") == [(None, None)]


async def test_a_destination_with_thousands_of_due_rows_hides_no_other(setting: Setting) -> None:
    async with receiving() as receiver:
        crowded = await setting.endpoint(receiver.url("/crowded"))
        await setting.events(3_000, endpoint_id=crowded)
        await setting.events(endpoint_id=await setting.endpoint(receiver.url("/quiet")))
        await setting.events(target=receiver.url("/cast", "localhost"))
        taken = await setting.courier().run_once()
    assert taken == WINDOW_NEW + 2
    assert sorted(receiver.paths()) == ["/cast", "/crowded", "/crowded", "/quiet"]


async def test_who_answers_gets_more_at_once_and_who_hangs_gets_one(setting: Setting) -> None:
    async with receiving() as receiver:
        await setting.events(200, endpoint_id=await setting.endpoint(receiver.url("/ok")))
        courier = setting.courier()
        assert [await courier.run_once() for _ in range(5)] == [2, 8, 16, 16, 16]
        assert courier._windows.known == {next(iter(courier._windows.known)): WINDOW_MAX}
        await setting.world.rows("DELETE FROM outgoing")
        await setting.events(20, endpoint_id=await setting.endpoint(receiver.url("/hang")))
        slow = setting.courier(seconds_max=0.5)
        assert [await slow.run_once() for _ in range(3)] == [2, 1, 1]


async def test_what_hangs_delays_nobody_else(setting: Setting) -> None:
    """The hanging ones answer only after all others have got theirs; a courier that waited would wait for ever."""
    async with receiving() as receiver:
        for number in range(20):
            await setting.events(5, endpoint_id=await setting.endpoint(receiver.url(f"/hold/{number}")))
        for number in range(20):
            await setting.events(5, endpoint_id=await setting.endpoint(receiver.url(f"/ok/{number}")))
        stop = asyncio.Event()
        running = asyncio.create_task(setting.courier(seconds_max=300.0).run(stop))
        async with asyncio.timeout(300), receiver.changed:
            await receiver.changed.wait_for(lambda: sum("/ok/" in path for path in receiver.paths()) == 100)
        held = sum("/hold/" in path for path in receiver.paths())
        assert 0 < held <= 20 * WINDOW_NEW
        receiver.released.set()
        async with asyncio.timeout(300), receiver.changed:
            await receiver.changed.wait_for(lambda: len(receiver.received) == 200)
        stop.set()
        await running
    assert await setting.statuses() == {"delivered": 200}


async def test_a_stopped_courier_finishes_what_is_in_flight_and_takes_no_more(setting: Setting) -> None:
    async with receiving() as receiver:
        (held,) = await setting.events(endpoint_id=await setting.endpoint(receiver.url("/hold")))
        stop = asyncio.Event()
        running = asyncio.create_task(setting.courier(seconds_max=300.0).run(stop))
        await receiver.wait_for(1)
        stop.set()
        receiver.released.set()
        await running
    assert (await setting.row(held)).status == "delivered"


async def test_what_did_not_end_in_time_is_given_back(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.courier.loop.STOP_SECONDS_MAX", 0.0)
    async with receiving() as receiver:
        (held,) = await setting.events(endpoint_id=await setting.endpoint(receiver.url("/hold")))
        stop = asyncio.Event()
        running = asyncio.create_task(setting.courier(seconds_max=300.0).run(stop))
        await receiver.wait_for(1)
        stop.set()
        await running
        row = await setting.row(held)
        assert (row.status, row.attempts, row.leased) == ("pending", 1, False)
        assert row.waits_s <= 0
        receiver.released.set()
        await setting.courier().run_once()
    assert (await setting.row(held)).status == "delivered"


async def test_a_courier_slower_than_its_lease_changes_nothing_but_a_success(setting: Setting) -> None:
    async with receiving() as receiver:
        (failing,) = await setting.events(endpoint_id=await setting.endpoint(receiver.url("/fail")))
        (held,) = await setting.events(endpoint_id=await setting.endpoint(receiver.url("/hold")))
        slow = setting.courier(seconds_max=300.0)
        await slow.claim_once()
        await receiver.wait_for(2)
        await setting.pass_time()
        heir = setting.courier(seconds_max=300.0)
        await heir.claim_once()
        await receiver.wait_for(4)
        await landed(slow, 1)
        await slow.record_once()
        row = await setting.row(failing)
        assert (row.status, row.attempts, row.leased) == ("pending", 2, True)
        receiver.released.set()
        await landed(slow, 1)
        await slow.record_once()
        assert (await setting.row(held)).status == "delivered"
        await landed(heir, 2)
        await heir.record_once()
    assert [entry[0] for entry in await setting.log(failing)] == [1, 2]
    assert [entry[0] for entry in await setting.log(held)] == [1, 2]
    assert (await setting.row(held)).status == "delivered"
    assert (await setting.row(failing)).status == "pending"


async def test_couriers_that_race_never_hold_one_row_together(setting: Setting) -> None:
    async with receiving() as receiver:
        for number in range(10):
            await setting.events(30, endpoint_id=await setting.endpoint(receiver.url(f"/ok/{number}")))
        stop = asyncio.Event()
        running = [asyncio.create_task(setting.courier().run(stop)) for _ in range(3)]
        async with asyncio.timeout(300), receiver.changed:
            await receiver.changed.wait_for(lambda: len(receiver.received) >= 300)
        stop.set()
        await asyncio.gather(*running)
    assert len(receiver.received) == 300
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 300
    assert await setting.statuses() == {"delivered": 300}
    assert await setting.world.rows("SELECT attempts, count(*) FROM outgoing GROUP BY 1") == [(1, 300)]
    assert await setting.world.rows("SELECT attempt, count(*) FROM outgoing_attempts GROUP BY 1") == [(1, 300)]


async def test_a_row_that_kills_every_courier_is_given_up(setting: Setting) -> None:
    async with receiving() as receiver:
        (event_id,) = await setting.events(endpoint_id=await setting.endpoint(receiver.url("/ok")))
        await setting.world.rows("UPDATE outgoing SET attempts = %s", ATTEMPTS_MAX)
        await setting.courier().run_once()
    assert receiver.received == []
    assert (await setting.row(event_id)).status == "failed"
    assert "no courier" in (await setting.log(event_id))[0][3]


async def test_postgres_away_while_recording_loses_nothing(setting: Setting) -> None:
    async with receiving() as receiver:
        (event_id,) = await setting.events(endpoint_id=await setting.endpoint(receiver.url("/ok")))
        courier = setting.courier()
        await courier.claim_once()
        await landed(courier, 1)
        live = courier._pool
        courier._pool = open_pool("postgresql://127.0.0.1:1/none", role=Role.ENGINE, size_max=1)  # type: ignore[misc] # the server is away
        with pytest.raises(StoreError):
            await courier.record_once()
        courier._pool = live  # type: ignore[misc] # it is back
        assert [await courier.record_once() for _ in range(2)] == [1, 0]
    assert (await setting.row(event_id)).status == "delivered"
