"""Events on their way to the platform: signed, tried again until accepted, doubled and delayed on demand."""

import hashlib
import hmac
import random
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import httpx
import msgspec

from local.stripe.answers import page_of, visible
from local.stripe.api import VERSION
from local.stripe.errors import refuse_unknown
from local.stripe.shapes import Params, listed, plain
from local.stripe.store import ACCEPTED, BY_HAND, GIVEN_UP, WAITING, Body, Delivery
from local.stripe.world import World

RETRIEVE: Final = plain("WebhookEndpointRetrieveParams")
LIST: Final = listed("WebhookEndpointListParams")
# Each wait is twice the one before, up to an hour; with that many attempts Stripe's three days are over.
RETRY_S_MIN: Final = 0.5
RETRY_S_MAX: Final = 3_600.0
ATTEMPTS_MAX: Final = 84
_AT_ONCE_MAX: Final = 64
_SENDERS: Final = 4
_ACCEPTED: Final = range(200, 300)
_TIMEOUT_S: Final = 20.0
_ENDPOINT_ID: Final = "we_1StandInEndpoint"


class Webhook:
    """The one endpoint that is told of everything. Its knobs hold until they are turned."""

    def __init__(self, world: World, secret: str) -> None:
        self._world: Final = world
        self.secret = secret
        self.old_secret: str | None = None
        self.paused = False
        self.duplicate_rate = 0.0
        self.delay_s: tuple[float, float] = (0.0, 0.0)
        self._random: Final = random.Random(0)  # noqa: S311  # the order of deliveries is no secret
        self._client: Final = httpx.Client(timeout=_TIMEOUT_S, trust_env=False, follow_redirects=False)
        self._senders: Final = ThreadPoolExecutor(_SENDERS, "stripe webhook")
        self._wake: Final = threading.Event()
        world.on_event = self.plan

    def close(self) -> None:
        """Stop sending."""
        self._senders.shutdown()
        self._client.close()

    def seed(self, seed: int) -> None:
        """Begin again with what is random."""
        self._random.seed(seed)

    def plan(self, event: Body) -> None:
        """Have an event sent, perhaps late, perhaps twice."""
        if self._world.webhook_url is None:
            return
        for _ in range(2 if self._random.random() < self.duplicate_rate else 1):
            delay = self._random.uniform(*self.delay_s)
            self._world.store.add_delivery(event["id"], self._world.clock() + delay)
        self._wake.set()

    def wait(self, seconds_max: float) -> None:
        """Return when there may be something to send."""
        with self._world.acting():
            at = self._world.store.next_delivery_at()
        if at is not None and not self.paused and self._world.webhook_url is not None:
            seconds_max = min(seconds_max, max(0.0, at - self._world.clock()))
        self._wake.wait(seconds_max)
        self._wake.clear()

    def wake(self) -> None:
        """Have `wait` return now."""
        self._wake.set()

    def run_once(self) -> int:
        """Send what is due; return how much was accepted."""
        if self.paused or self._world.webhook_url is None:
            return 0
        with self._world.acting():
            due = self._world.store.due_deliveries(self._world.clock(), _AT_ONCE_MAX)
        return sum(self._senders.map(self._try, due))

    def send(self, event_id: str) -> int:
        """Send an event now, whatever else is planned; return the status of the answer, 0 when there was none."""
        with self._world.acting():
            number = self._world.store.add_delivery(event_id, self._world.clock(), BY_HAND)
        return self._attempt(Delivery(number, event_id, 0.0, 0, BY_HAND, None))

    def signed(self, payload: bytes, *, at: int | None = None, secret: str | None = None) -> dict[str, str]:
        """Return the headers of a delivery: signed now with our secret, unless told otherwise."""
        moment = int(self._world.clock()) if at is None else at
        signed = f"{moment}.".encode() + payload
        keys = [secret] if secret is not None else [self.secret, *filter(None, [self.old_secret])]
        made = [f"v1={hmac.new(key.encode(), signed, hashlib.sha256).hexdigest()}" for key in keys]
        return {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": ",".join([f"t={moment}", *made]),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }

    def payload(self, event_id: str) -> bytes:
        """Return the bytes of an event as they are sent."""
        with self._world.acting():
            return msgspec.json.encode(visible(self._world.known("event", event_id)))

    def _try(self, delivery: Delivery) -> bool:
        return self._attempt(delivery) in _ACCEPTED

    def _attempt(self, delivery: Delivery) -> int:
        payload = self.payload(delivery.event)
        status, answer = 0, ""
        try:
            response = self._client.post(str(self._world.webhook_url), content=payload, headers=self.signed(payload))
            status, answer = response.status_code, f"{response.status_code} {response.text[:200]}"
        except httpx.HTTPError as error:
            answer = f"{type(error).__name__}: {error}"
        accepted = status in _ACCEPTED
        attempts = delivery.attempts + 1
        goes_on = delivery.state == WAITING and attempts < ATTEMPTS_MAX
        state = ACCEPTED if accepted else WAITING if goes_on else GIVEN_UP
        wait = min(RETRY_S_MIN * 2.0 ** (attempts - 1), RETRY_S_MAX)
        with self._world.acting():
            self._world.store.update_delivery(
                delivery.seq, at=self._world.clock() + wait, attempts=attempts, state=state, answer=answer
            )
            event = self._world.known("event", delivery.event)
            if accepted and event["pending_webhooks"]:
                self._world.update(event, pending_webhooks=0)
        return status


def retrieve(world: World, _params: Params, identifier: str) -> Body:
    """Return the endpoint."""
    if identifier != _ENDPOINT_ID or world.webhook_url is None:
        refuse_unknown("webhook_endpoint", identifier, "id")
    return _endpoint(world, world.webhook_url)


def list_all(world: World, params: Params) -> Body:
    """Return the endpoint, if there is one."""
    found = [] if world.webhook_url is None else [_endpoint(world, world.webhook_url)]
    return page_of(found, params, "/v1/webhook_endpoints")


def new_secret() -> str:
    """Return a secret as Stripe's look."""
    return f"whsec_{secrets.token_hex(16)}"


def _endpoint(world: World, url: str) -> Body:
    """Return the endpoint as Stripe shows it, without its secret."""
    return {
        "id": _ENDPOINT_ID,
        "object": "webhook_endpoint",
        "api_version": VERSION,
        "application": None,
        "created": int(world.store.fact("made_at") or 0),
        "description": "Made by the stand-in",
        "enabled_events": ["*"],
        "livemode": False,
        "metadata": {},
        "status": "enabled",
        "url": url,
    }
