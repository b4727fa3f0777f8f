"""What goes wrong on demand, as a platform sees it through the real library."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from local.folder import LocalServerError
from local.stripe.fake import FakeStripe
from tests.local.conftest import Receiver, client_of


def made(api: stripe.StripeClient, key: str = "key-1") -> str:
    return api.v1.customers.create({"name": "Ada"}, {"idempotency_key": key}).id


@pytest.mark.parametrize(
    ("kind", "error", "done", "stored"),
    [
        ("rate_limit", stripe.RateLimitError, False, False),
        ("error", stripe.APIError, False, True),
        ("error_after", stripe.APIError, True, True),
        ("timeout", stripe.APIConnectionError, True, False),
        ("reset", stripe.APIConnectionError, False, False),
        ("reset_after", stripe.APIConnectionError, True, False),
    ],
)
def test_a_call_fails_once(
    fake: FakeStripe, api: stripe.StripeClient, kind: str, error: Any, *, done: bool, stored: bool
) -> None:
    """`done`: the work was done all the same. `stored`: the key is answered with the failure again."""
    fake.fail(kind, method="POST", path="/v1/customers", seconds=0.1)
    with pytest.raises(error):
        made(api)
    assert len(fake.customers()) == done
    if stored:
        with pytest.raises(error):
            made(api)
        assert len(fake.customers()) == done
    else:
        assert made(api) == fake.customers()[0]["id"]
        assert len(fake.customers()) == 1
    before = len(fake.customers())
    made(api, "key-2")
    assert len(fake.customers()) == before + 1


def test_a_silent_call_lasts_longer_than_a_client_waits(fake: FakeStripe) -> None:
    fake.fail("timeout")
    headers = {"Authorization": f"Bearer {fake.secret_key}"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{fake.url}/v1/customers", headers=headers, timeout=0.3)
    assert len(fake.customers()) == 1


def test_a_stored_500_is_forgotten_with_its_key(fake: FakeStripe, api: stripe.StripeClient) -> None:
    fake.fail("error_after")
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            made(api)
    assert len(fake.customers()) == 1
    fake.advance(86_401)
    made(api)
    assert len(fake.customers()) == 2


def test_a_slow_answer_comes(fake: FakeStripe, api: stripe.StripeClient) -> None:
    fake.fail("slow", seconds=0.2)
    assert made(api) == fake.customers()[0]["id"]


def test_a_fault_hits_what_it_is_set_for(fake: FakeStripe, api: stripe.StripeClient) -> None:
    fake.fail("rate_limit", method="POST", path="/v1/invoices", calls=2)
    customer = made(api)
    for _ in range(2):
        with pytest.raises(stripe.RateLimitError):
            api.v1.invoices.create({"customer": customer})
    api.v1.invoices.create({"customer": customer})
    fake.fail("rate_limit", calls=None)
    for _ in range(5):
        with pytest.raises(stripe.RateLimitError):
            api.v1.customers.list()
    fake.heal()
    assert len(api.v1.customers.list().data) == 1


def test_a_rate_hits_the_same_calls_with_the_same_seed(fake: FakeStripe, api: stripe.StripeClient) -> None:
    def hits() -> list[bool]:
        fake.heal(seed=5)
        fake.fail("rate_limit", calls=None, rate=0.3)
        seen: list[bool] = []
        for _ in range(40):
            try:
                api.v1.customers.list()
            except stripe.RateLimitError:
                seen.append(True)
            else:
                seen.append(False)
        fake.heal()
        return seen

    first = hits()
    assert hits() == first
    assert 0 < sum(first) < 40


def test_the_library_repeats_by_itself_and_the_work_is_done_once(fake: FakeStripe) -> None:
    api = client_of(fake, max_network_retries=3)
    fake.fail("reset_after", calls=2)
    assert api.v1.customers.create({"name": "Ada"}).id == fake.customers()[0]["id"]
    assert len(fake.customers()) == 1


def test_many_at_once_lose_nothing(fake: FakeStripe) -> None:
    fake.fail("error", method="POST", calls=None, rate=0.2)
    fake.fail("reset_after", method="POST", calls=None, rate=0.2)

    def make(number: int) -> str:
        api = client_of(fake)
        for attempt in range(50):
            try:
                return api.v1.customers.create({"name": str(number)}, {"idempotency_key": f"{number}-{attempt}"}).id
            except stripe.APIConnectionError:
                found = [each.id for each in api.v1.customers.list({"limit": 100}).data if each.name == str(number)]
                assert len(found) == 1
                return found[0]
            except stripe.APIError:
                continue
        pytest.fail("fifty refusals in a row")

    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(make, range(40)))
    assert sorted(ids) == sorted(each["id"] for each in fake.customers())


def test_what_is_known_survives_its_process(tmp_path: Path) -> None:
    with FakeStripe(tmp_path / "kept") as first:
        customer, url, key = made(client_of(first)), first.url, first.secret_key
        first.give_card(customer)
        first.advance(10 * 86_400)
        before = first.now
    with FakeStripe(tmp_path / "kept") as second:
        assert (second.url, second.secret_key, second.now >= before) == (url, key, True)
        assert made(client_of(second)) != customer  # the clock went on, the key is forgotten
        assert client_of(second).v1.customers.retrieve(customer).invoice_settings.default_payment_method is not None
        assert len(second.objects("price")) == 2


def test_a_taken_port_is_said_in_one_line(fake: FakeStripe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = FakeStripe(tmp_path / "other")
    monkeypatch.setattr(other, "_port", int(fake.url.rpartition(":")[2]))
    with pytest.raises(LocalServerError, match="cannot listen"):
        other.start()
    other.close()


def test_events_wait_for_a_platform_that_is_down(fake: FakeStripe, receiver: Receiver) -> None:
    receiver.answers[:] = [503] * 3
    made(client_of(fake))
    fake.settle()
    (event,) = fake.events("customer.created")
    (delivery,) = fake.deliveries(event["id"])
    assert (delivery.state, delivery.attempts, receiver.types()) == ("accepted", 4, ["customer.created"])


def test_events_are_held_and_sent_when_told(fake: FakeStripe, receiver: Receiver) -> None:
    fake.webhooks(paused=True)
    for key in "ab":
        made(client_of(fake), key)
    events = [event["id"] for event in fake.events("customer.created")]
    assert [fake.send(each) for each in reversed(events)] == [200, 200]
    assert [event.id for event in receiver.events] == events[::-1]
    fake.webhooks(paused=False)
    fake.settle()
    assert len(receiver.events) == 4


def test_a_forged_and_an_old_signature_can_be_made(fake: FakeStripe) -> None:
    made(client_of(fake))
    payload = fake.payload(fake.events("customer.created")[0]["id"])
    good = fake.signed(payload)["Stripe-Signature"]
    assert stripe.Webhook.construct_event(payload, good, fake.webhook_secret).type == "customer.created"
    for headers in (fake.signed(payload, secret="whsec_another"), fake.signed(payload, at=1_000_000)):
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(payload, headers["Stripe-Signature"], fake.webhook_secret)


def test_a_rolled_secret_signs_beside_the_new_one(fake: FakeStripe) -> None:
    made(client_of(fake))
    fake.webhooks(old_secret="whsec_of_yesterday")
    payload = fake.payload(fake.events("customer.created")[0]["id"])
    header = fake.signed(payload)["Stripe-Signature"]
    assert header.count("v1=") == 2
    for secret in (fake.webhook_secret, "whsec_of_yesterday"):
        assert stripe.Webhook.construct_event(payload, header, secret).type == "customer.created"


def test_everything_can_be_asked_over_http(fake: FakeStripe, api: stripe.StripeClient) -> None:
    def ask(verb: str, **arguments: Any) -> Any:
        answer = httpx.post(f"{fake.url}/stripe/control/{verb}", json=arguments)
        assert answer.status_code == 200, answer.text
        return answer.json()

    customer = made(api)
    ask("fail", kind="rate_limit", path="/v1/customers")
    with pytest.raises(stripe.RateLimitError):
        made(api, "another")
    assert ask("give_card", customer_id=customer).startswith("pm_")
    before = fake.now
    assert ask("advance", seconds=3_600) >= before + 3_600
    assert [each["type"] for each in ask("events", types=["customer.created"])] == ["customer.created"]
    assert [each["id"] for each in ask("objects", kind="customer")] == [customer]
    assert httpx.post(f"{fake.url}/stripe/control/close", json={}).status_code == 404
    assert httpx.post(f"{fake.url}/stripe/control/advance", json={"seconds": -1}).status_code == 400
    assert httpx.post(f"{fake.url}/stripe/control/advance", json={"days": 1}).status_code == 400
    assert httpx.post(f"{fake.url}/stripe/control/pay", json={"session_id": "cs_none"}).status_code == 400


def test_other_pages_cannot_press_buttons_here(fake: FakeStripe) -> None:
    control = f"{fake.url}/stripe/control/heal"
    assert httpx.post(control, headers={"Origin": "https://evil.example"}).status_code == 403
    assert httpx.post(control, headers={"Host": "evil.example:80"}).status_code == 421
    assert httpx.post(control, headers={"Origin": fake.url}).status_code == 200
