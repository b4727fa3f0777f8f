"""Endpoints by their flows: made once, changed, rotated, tried, ended, and what they missed sent again; each twice."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from domain.flow.create_webhook import CreatedWebhook, NewWebhook, create_webhook
from domain.flow.creation import IdempotentCall
from domain.flow.delete_webhook import delete_webhook
from domain.flow.redeliver import redeliver, redeliver_missed
from domain.flow.render_event import Told, render_events
from domain.flow.rotate_webhook import rotate_webhook
from domain.flow.suspend_spells import suspend_spells
from domain.flow.try_webhook import try_webhook
from domain.flow.update_webhook import WebhookChange, find_webhook, update_webhook
from domain.model.audit import OPERATOR
from domain.model.errors import Code, RefusedError
from domain.model.events import DisabledEndpoint, disabled_event
from domain.model.webhook_rules import ENDPOINTS_PER_ACCOUNT_MAX, EndpointTerms
from domain.store import deliveries, webhooks
from domain.store.connection import Pool, transaction
from domain.store.events import events_insert
from domain.store.webhooks import Endpoint
from tests.domain.receivers import give_mail, subscribe, told
from tests.domain.world import World

TERMS = EndpointTerms(url="https://example.com/hook", event_types=("*",), description="")
CALL = IdempotentCall(key="k", request_hash=b"h" * 32)


async def create(pool: Pool, world: World, *, call: IdempotentCall | None = None) -> CreatedWebhook:
    new = NewWebhook(id=uuid4(), account_id=world.account_id, terms=TERMS)
    async with transaction(pool) as connection:
        return await create_webhook(connection, new, private_allowed=(), call=call, actor=OPERATOR)


async def change(pool: Pool, world: World, endpoint_id: UUID, **fields: object) -> Endpoint:
    async with transaction(pool) as connection:
        return await update_webhook(
            connection,
            account_id=world.account_id,
            endpoint_id=endpoint_id,
            change=WebhookChange(**fields),
            private_allowed=(),
            actor=OPERATOR,
        )


async def attempt(pool: Pool, world: World, endpoint_id: UUID, *, call: IdempotentCall | None = None) -> UUID:
    async with transaction(pool) as connection:
        row, _ = await try_webhook(
            connection,
            account_id=world.account_id,
            endpoint_id=endpoint_id,
            delivery_id=uuid4(),
            event_id=uuid4(),
            call=call,
        )
    return row.id


async def fails(world: World, delivery_id: UUID) -> None:
    query = "UPDATE outgoing SET status = 'failed', finished_at = now(), attempts = 2 WHERE id = %s"
    await world.rows(query, delivery_id)


async def has_webhooks(world: World) -> bool:
    return (await world.rows("SELECT has_webhooks FROM accounts WHERE id = %s", world.account_id))[0][0]


def refused(code: Code):  # noqa: ANN201 - the context manager of pytest
    return pytest.raises(RefusedError, check=lambda error: error.refusal.code is code)


async def test_the_same_call_makes_one_endpoint(world: World, pool: Pool) -> None:
    first, again = [await create(pool, world, call=CALL) for _ in range(2)]
    assert (first.replayed, again.replayed, again.endpoint) == (False, True, first.endpoint)
    assert await has_webhooks(world)
    async with transaction(pool) as connection:
        await delete_webhook(connection, account_id=world.account_id, endpoint_id=first.endpoint.id, actor=OPERATOR)
    assert not await has_webhooks(world)
    with refused(Code.NOT_FOUND):
        await create(pool, world, call=CALL)
    with refused(Code.IDEMPOTENCY_KEY_REUSED):
        await create(pool, world, call=IdempotentCall(key="k", request_hash=b"x" * 32))


async def test_an_account_has_so_many(world: World, pool: Pool) -> None:
    for _ in range(ENDPOINTS_PER_ACCOUNT_MAX):
        await create(pool, world)
    with refused(Code.CONFLICT):
        await create(pool, world)
    async with transaction(pool) as connection:
        assert await webhooks.endpoints_count(connection, account_id=world.account_id) == ENDPOINTS_PER_ACCOUNT_MAX
        page = await webhooks.endpoints_list(connection, account_id=world.account_id, before=None, limit=7)
        last = (page[-1].created_at, page[-1].id)
        more = await webhooks.endpoints_list(connection, account_id=world.account_id, before=last, limit=20)
    assert (len(page), len(more)) == (7, ENDPOINTS_PER_ACCOUNT_MAX - 7)
    assert not {one.id for one in page} & {one.id for one in more}


async def test_a_change_leaves_what_it_does_not_name(world: World, pool: Pool) -> None:
    endpoint = (await create(pool, world)).endpoint
    described = await change(pool, world, endpoint.id, description="prod")
    assert (described.description, described.url, described.event_types) == ("prod", TERMS.url, ["*"])
    moved = await change(pool, world, endpoint.id, url="https://example.com/2", event_types=("cast.*",))
    assert (moved.description, moved.url, moved.event_types) == ("prod", "https://example.com/2", ["cast.*"])
    with refused(Code.VALIDATION):
        await change(pool, world, endpoint.id, url="https://10.0.0.1")
    with refused(Code.NOT_FOUND):
        await change(pool, world, uuid4(), url="https://example.com")


async def test_a_failing_endpoint_starts_afresh_when_enabled_or_moved(world: World, pool: Pool) -> None:
    endpoint = (await create(pool, world)).endpoint
    failing = "UPDATE webhook_endpoints SET failing_since = now()"
    await world.rows(failing)
    assert (await change(pool, world, endpoint.id, description="x")).failing_since is not None
    assert (await change(pool, world, endpoint.id, url="https://example.com/2")).failing_since is None
    await world.rows(f"{failing}, disabled_at = now(), disabled_reason = 'failing'")
    off = await change(pool, world, endpoint.id, disabled=True)
    assert off.disabled_reason == "failing"  # who gave it up stays known
    on = await change(pool, world, endpoint.id, disabled=False)
    assert (on.failing_since, on.disabled_at, on.disabled_reason) == (None, None, None)


async def test_a_rotation_is_repeated_only_without_its_key(world: World, pool: Pool) -> None:
    endpoint = (await create(pool, world)).endpoint
    asked = {"account_id": world.account_id, "endpoint_id": endpoint.id, "grace_s": 60}
    found: list[tuple[int, bool]] = []
    for call in (CALL, CALL, None):
        async with transaction(pool) as connection:
            rotated, replayed = await rotate_webhook(connection, **asked, call=call, actor=OPERATOR)
        found.append((rotated.secret_version, replayed))
        assert rotated.previous_secret_until is not None
        assert rotated.previous_secret_until > datetime.now(UTC) - timedelta(hours=1)
    assert found == [(2, False), (2, True), (3, False)]
    async with transaction(pool) as connection:
        with refused(Code.NOT_FOUND):
            await rotate_webhook(
                connection, account_id=world.account_id, endpoint_id=uuid4(), grace_s=0, actor=OPERATOR
            )


async def test_a_test_event_goes_to_one_endpoint_and_once_a_key(world: World, pool: Pool) -> None:
    endpoint = await subscribe(pool, world.account_id, "spell.*")
    await subscribe(pool, world.account_id)
    first, again = [await attempt(pool, world, endpoint, call=CALL) for _ in range(2)]
    assert first == again
    (row,) = await told(world)
    assert (row.endpoint_id, row.event_type, row.status) == (endpoint, "webhook.test", "pending")
    await world.rows("DELETE FROM outgoing")
    with refused(Code.NOT_FOUND):
        await attempt(pool, world, endpoint, call=CALL)
    await change(pool, world, endpoint, disabled=True)
    with refused(Code.CONFLICT):
        await attempt(pool, world, endpoint)


async def test_a_delivery_is_sent_again_once_however_often_asked(world: World, pool: Pool) -> None:
    endpoint = await subscribe(pool, world.account_id)
    delivery = await attempt(pool, world, endpoint)
    await fails(world, delivery)
    for _ in range(2):
        async with transaction(pool) as connection:
            row = await redeliver(connection, account_id=world.account_id, endpoint_id=endpoint, delivery_id=delivery)
        assert (row.status, row.attempts) == ("pending", 2)
    assert await world.rows("SELECT attempts_before, count(*) FROM outgoing GROUP BY 1") == [(2, 1)]
    async with transaction(pool) as connection:
        for account_id, of, which in (
            (world.account_id, endpoint, uuid4()),
            (world.account_id, None, delivery),
            (world.creator_id, None, delivery),
        ):
            with refused(Code.NOT_FOUND):
                await redeliver(connection, account_id=account_id, endpoint_id=of, delivery_id=which)
    await change(pool, world, endpoint, disabled=True)
    async with transaction(pool) as connection:
        with refused(Code.CONFLICT):
            await redeliver(connection, account_id=world.account_id, endpoint_id=endpoint, delivery_id=delivery)


async def test_a_delivery_that_waits_is_brought_forward_unless_a_courier_holds_it(world: World, pool: Pool) -> None:
    endpoint = await subscribe(pool, world.account_id)
    delivery = await attempt(pool, world, endpoint)
    for lease, brought in (("NULL", True), ("now() + interval '1 hour'", False)):
        query = "UPDATE outgoing SET next_attempt_at = now() + interval '1 hour', lease_until = "
        await world.rows(query + lease)
        async with transaction(pool) as connection:
            await redeliver(connection, account_id=world.account_id, endpoint_id=endpoint, delivery_id=delivery)
        assert await world.rows("SELECT next_attempt_at <= clock_timestamp() FROM outgoing") == [(brought,)]


async def test_all_that_was_missed_is_sent_again_once(world: World, pool: Pool) -> None:
    endpoint = await subscribe(pool, world.account_id)
    missed, fine = [await attempt(pool, world, endpoint) for _ in range(2)]
    await fails(world, missed)
    now = datetime.now(UTC)
    counts: list[int] = []
    for since, until in (
        (now + timedelta(days=1), now + timedelta(days=2)),
        *[(now - timedelta(days=1), now + timedelta(days=1))] * 2,
    ):
        async with transaction(pool) as connection:
            counts.append(
                await redeliver_missed(
                    connection, account_id=world.account_id, endpoint_id=endpoint, since=since, until=until
                )
            )
    assert counts == [0, 1, 0]
    async with transaction(pool) as connection:
        listed = await deliveries.deliveries_list(
            connection, account_id=world.account_id, endpoint_id=endpoint, status=None, before=None, limit=5
        )
        older = await deliveries.deliveries_list(
            connection,
            account_id=world.account_id,
            endpoint_id=endpoint,
            status=deliveries.Status.PENDING,
            before=(listed[0].created_at, listed[0].id),
            limit=5,
        )
        assert await deliveries.attempts_list(connection, account_id=world.account_id, delivery_ids=[fine]) == {}
    assert ([row.id for row in listed], [row.id for row in older]) == ([fine, missed], [missed])


async def test_ending_an_endpoint_cancels_what_waits_for_it_alone(world: World, pool: Pool) -> None:
    ended, other = [await subscribe(pool, world.account_id) for _ in range(2)]
    gone, done, kept = [await attempt(pool, world, endpoint) for endpoint in (ended, ended, other)]
    await world.rows("UPDATE outgoing SET status = 'delivered', finished_at = now() WHERE id = %s", done)
    async with transaction(pool) as connection:
        await delete_webhook(connection, account_id=world.account_id, endpoint_id=ended, actor=OPERATOR)
    assert dict(await world.rows("SELECT id, status FROM outgoing")) == {
        gone: "canceled",
        done: "delivered",
        kept: "pending",
    }
    async with transaction(pool) as connection:
        for account_id, endpoint in ((world.account_id, ended), (world.creator_id, other)):
            with refused(Code.NOT_FOUND):
                await delete_webhook(connection, account_id=account_id, endpoint_id=endpoint, actor=OPERATOR)
            with refused(Code.NOT_FOUND):
                await find_webhook(connection, account_id=account_id, endpoint_id=endpoint)
    assert await has_webhooks(world)


async def test_an_endpoint_given_up_is_told_to_the_others_and_by_mail(world: World, pool: Pool) -> None:
    broken, other = [await subscribe(pool, world.account_id) for _ in range(2)]
    await give_mail(world, world.account_id, "ada@example.com")
    now = datetime.now(UTC)
    found = DisabledEndpoint(
        endpoint_id=broken, account_id=world.account_id, url="https://example.com", failing_since=now, disabled_at=now
    )
    async with transaction(pool) as connection:
        await events_insert(connection, [disabled_event(found)])
    mail, webhook = await told(world)
    assert (mail.target, webhook.endpoint_id, webhook.event_type) == ("ada@example.com", other, "webhook.disabled")
    assert webhook.payload is not None
    assert webhook.payload["webhook_id"] == str(broken)


async def test_no_spell_is_suspended_for_nothing(world: World, pool: Pool) -> None:
    async with transaction(pool) as connection:
        assert await suspend_spells(connection, [], reason="it is a test", actor=OPERATOR) == []
        assert [
            one.spell_id for one in await suspend_spells(connection, [world.spell_id], reason="x", actor=OPERATOR)
        ] == [world.spell_id]
        assert await suspend_spells(connection, [world.spell_id], reason="x", actor=OPERATOR) == []


async def test_the_attempts_of_a_delivery_are_listed_in_order(world: World, pool: Pool) -> None:
    delivery = await attempt(pool, world, await subscribe(pool, world.account_id))
    for number in (2, 1):
        query = "INSERT INTO outgoing_attempts VALUES (%s, %s, %s, now(), 17, '{}', 500, 'no', NULL)"
        await world.rows(query, delivery, number, world.account_id)
    async with transaction(pool) as connection:
        found = await deliveries.attempts_list(connection, account_id=world.account_id, delivery_ids=[delivery])
        none = await deliveries.attempts_list(connection, account_id=world.creator_id, delivery_ids=[delivery])
    assert ([one.attempt for one in found[delivery]], none) == ([1, 2], {})


async def test_an_event_whose_cast_is_gone_has_no_body(pool: Pool) -> None:
    row = Told(id=uuid4(), event_type="cast.succeeded", created_at=datetime.now(UTC), cast_id=uuid4(), payload=None)
    async with transaction(pool) as connection:
        assert await render_events(connection, [row], casts_url="https://spells/v1/casts") == {}
