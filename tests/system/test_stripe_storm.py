"""Webhooks as the worst day brings them: late, twice, in any order, forged, old, while everybody who works is killed.

`STRIPE_STORM=10000` sends as many events; the few of every test run are the same thing in small.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import httpx
import msgspec
import psycopg
import pytest
from stripe import WebhookSignature

from local.servers import Servers
from tests.api.platform import PATIENCE_SECONDS, REPOSITORY, Rows, api_environment, free_port
from tests.scheduler.stripe_shelf import CREATED, WEBHOOK_SECRET, Shelf, shelf, subscription

EVENTS: Final = int(os.environ.get("STRIPE_STORM", "600"))
PER_CUSTOMER: Final = 20
AT_ONCE: Final = 16
DUPLICATES, FORGED, OLD = 0.3, 0.01, 0.01
KILLS: Final = 2 if EVENTS < 2_000 else 5
WORDS: Final = ("active", "past_due", "canceled", "unpaid", "incomplete", "trialing")
# What follows from Stripe's word while a grace has not ended: plan, metered, grace.
MEANS: Final = {
    "active": ("pro", True, False),
    "trialing": ("pro", True, False),
    "past_due": ("pro", True, True),
    "unpaid": ("pro", True, True),
    "canceled": ("free", False, False),
    "incomplete": ("free", False, False),
}


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One sending; `at` and `happened_at` are places in the course of the storm."""

    at: float
    happened_at: int
    event_id: str
    customer_id: str
    status: str
    kind: str = "real"

    def body(self) -> bytes:
        """Return the event as it was when it happened: what is in it may be long untrue."""
        thing = subscription(self.customer_id, self.status)
        return json.dumps(
            {
                "id": self.event_id,
                "object": "event",
                "type": "customer.subscription.updated",
                "created": CREATED,
                "data": {"object": thing},
            }
        ).encode()

    def headers(self) -> dict[str, str]:
        secret = "whsec_of_somebody_else" if self.kind == "forged" else WEBHOOK_SECRET
        at = int(time.time()) - (400 if self.kind == "old" else 0)
        return {"stripe-signature": WebhookSignature.generate_signature_header(self.body().decode(), secret, at)}


class Storm(msgspec.Struct, frozen=True):
    deliveries: list[Delivery]
    """In the order of sending."""
    final: dict[str, str]
    """Stripe's last word for each customer, by the ordered model: what happened last."""


def make_storm(seed: int) -> Storm:
    chance = random.Random(seed)
    customers = [f"cus_{number}" for number in range(max(EVENTS // PER_CUSTOMER, 1))]
    final: dict[str, str] = {}
    deliveries: list[Delivery] = []
    for place in range(EVENTS):
        customer, status = chance.choice(customers), chance.choice(WORDS)
        final[customer] = status
        told = Delivery(
            at=place + chance.expovariate(1 / 50),
            happened_at=place,
            event_id=f"evt_{place}",
            customer_id=customer,
            status=status,
        )
        deliveries.append(told)
        while chance.random() < DUPLICATES:
            deliveries.append(msgspec.structs.replace(told, at=told.at + chance.expovariate(1 / 50)))
        for kind, share in (("forged", FORGED), ("old", OLD)):
            if chance.random() < share:
                name = f"evt_{kind}_{place}"
                deliveries.append(msgspec.structs.replace(told, event_id=name, kind=kind, status="active"))
    return Storm(sorted(deliveries, key=lambda one: one.at), final)


class Platform:
    """An api and two schedulers that are killed and started again."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.url = f"http://127.0.0.1:{environment['PORT']}"
        self.kills = 0
        self._environment = environment
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, module: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=REPOSITORY,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self, name: str, module: str) -> None:
        self._processes[name].send_signal(signal.SIGKILL)
        self._processes[name].wait()
        self.kills += 1
        self.start(name, module)

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    async def ready(self, http: httpx.AsyncClient) -> None:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up_at:
            try:
                if (await http.get(f"{self.url}/healthz")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)
        logs = "\n".join(log.read_text()[-2000:] for log in self._folder.glob("*.log"))
        raise AssertionError(logs)


@asynccontextmanager
async def platform(database_url: str, redis_url: str, stripe: Shelf, folder: Path) -> AsyncGenerator[Platform]:
    settings = stripe.settings
    environment = api_environment(
        database_url,
        redis_url,
        free_port(),
        STRIPE_SECRET_KEY=settings.secret_key.reveal(),
        STRIPE_WEBHOOK_SECRET=WEBHOOK_SECRET,
        STRIPE_API_BASE=settings.api_base,
        STRIPE_PRICE_PRO="price_pro",
        LOG_LEVEL="warning",
    )
    made = Platform(environment, folder)
    try:
        for name, module in (("api", "api"), ("one", "scheduler"), ("two", "scheduler")):
            made.start(name, module)
        yield made
    finally:
        made.close()


def make_customers(database_url: str, customers: list[str]) -> dict[str, UUID]:
    rows = Rows(database_url)
    rows.price()
    accounts = {customer: uuid4() for customer in customers}
    for customer, account_id in accounts.items():
        parameters = {"id": account_id, "handle": f"a{account_id.hex[:12]}", "customer": customer}
        rows.execute("INSERT INTO accounts (id, handle, billing) VALUES (%(id)s, %(handle)s, 'on')", parameters)
        rows.execute(
            "INSERT INTO billing_accounts (account_id, stripe_customer_id, created_at, updated_at)"
            " VALUES (%(id)s, %(customer)s, now(), now())",
            parameters,
        )
    rows.close()
    return accounts


async def send(http: httpx.AsyncClient, url: str, delivery: Delivery) -> int:
    """Send until somebody answers, as Stripe does."""
    while True:
        try:
            answer = await http.post(f"{url}/webhooks/stripe", content=delivery.body(), headers=delivery.headers())
        except httpx.TransportError:
            await asyncio.sleep(0.05)
            continue
        if answer.status_code != 503:
            return answer.status_code
        await asyncio.sleep(0.05)


async def blow(http: httpx.AsyncClient, made: Platform, stripe: Shelf, storm: Storm) -> dict[str, set[int]]:
    """Send everything, while what is told of happens, and kill whoever works; return the answers by kind."""
    answers: dict[str, set[int]] = {"real": set(), "forged": set(), "old": set()}
    happening = sorted((one for one in storm.deliveries if one.kind == "real"), key=lambda one: one.happened_at)
    places = asyncio.Semaphore(AT_ONCE)
    kill_at = {len(storm.deliveries) * (turn + 1) // (KILLS + 1): turn for turn in range(KILLS)}

    async def one(delivery: Delivery) -> None:
        async with places:
            answers[delivery.kind].add(await send(http, made.url, delivery))

    async with asyncio.TaskGroup() as group:
        for place, delivery in enumerate(storm.deliveries):
            while happening and happening[0].happened_at <= delivery.at:
                now = happening.pop(0)
                stripe.subscriptions[now.customer_id] = [subscription(now.customer_id, now.status)]
            group.create_task(one(delivery))
            if place in kill_at:
                made.kill("api", "api")
                made.kill(("one", "two")[kill_at[place] % 2], "scheduler")
            async with places:  # as fast as the answers come
                pass
    return answers


async def applied(database_url: str) -> None:
    """Return when nothing waits. What the dead had taken is due again by its lease, which nobody here waits for."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS * 3
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        while time.monotonic() < give_up_at:
            await connection.execute(
                "UPDATE stripe_events SET next_attempt_at = clock_timestamp()"
                " WHERE status = 'pending' AND next_attempt_at > clock_timestamp() + interval '1 minute'"
            )
            cursor = await connection.execute("SELECT count(*) FROM stripe_events WHERE status = 'pending'")
            row = await cursor.fetchone()
            if row is not None and row[0] == 0:
                return
            await asyncio.sleep(0.2)
    pytest.fail("events wait still")


async def test_whatever_comes_the_state_is_that_of_the_ordered_model(
    database_url: str, redis_url: str, servers: Servers, tmp_path: Path
) -> None:
    del servers
    seed = int(os.environ.get("SEED", "7"))
    storm = make_storm(seed)
    accounts = make_customers(database_url, list(storm.final))
    async with (
        shelf() as stripe,
        httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False) as http,
        platform(database_url, redis_url, stripe, tmp_path) as made,
    ):
        await made.ready(http)
        answers = await blow(http, made, stripe, storm)
        await applied(database_url)
    assert answers == {"real": {200}, "forged": {400}, "old": {400}}, f"seed {seed}"
    assert made.kills == 2 * KILLS
    rows = Rows(database_url)
    kept = dict(rows.execute("SELECT id, status FROM stripe_events"))
    assert kept == {one.event_id: "applied" for one in storm.deliveries if one.kind == "real"}, f"seed {seed}"
    found = {
        account_id: (status, plan, active, grace)
        for account_id, status, plan, active, grace in rows.execute(
            "SELECT a.id, b.status, a.plan, a.subscription_active, b.grace_until IS NOT NULL"
            " FROM accounts a JOIN billing_accounts b ON b.account_id = a.id"
        )
    }
    rows.close()
    wanted = {accounts[customer]: (status, *MEANS[status]) for customer, status in storm.final.items()}
    assert found == wanted, f"seed {seed}"
