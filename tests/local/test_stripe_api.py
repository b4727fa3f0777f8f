"""The real library against the stand-in: objects, errors, lists, keys."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import stripe

from local.stripe.fake import PRICE_PRO, FakeStripe
from tests.local.conftest import client_of

DAY = 86_400


def customer_of(api: stripe.StripeClient, **fields: Any) -> str:
    return api.v1.customers.create({"email": "ada@example.com", **fields}).id


def topped_up(api: stripe.StripeClient, customer: str, method: str, amount: int = 1_000, **options: Any) -> Any:
    order: Any = {"amount": amount, "currency": "usd", "customer": customer, "payment_method": method}
    return api.v1.payment_intents.create({**order, "off_session": True, "confirm": True}, options)


def posted(fake: FakeStripe, path: str, fields: dict[str, str], **headers: str) -> httpx.Response:
    authorization = {"Authorization": f"Bearer {fake.secret_key}"}
    return httpx.post(f"{fake.url}{path}", data=fields, headers={**authorization, **headers})


def test_a_customer_is_kept_and_changed(fake: FakeStripe, api: stripe.StripeClient) -> None:
    made = api.v1.customers.create({"email": "ada@example.com", "metadata": {"account": "7", "old": "x"}})
    api.v1.customers.update(made.id, {"name": "Ada", "metadata": {"old": ""}})
    found = api.v1.customers.retrieve(made.id)
    assert (found.email, found.name, found.metadata.to_dict()) == ("ada@example.com", "Ada", {"account": "7"})
    assert (found.livemode, found.id.startswith("cus_")) == (False, True)
    updated = fake.events("customer.updated")[0]
    assert updated["data"]["previous_attributes"] == {"name": None, "metadata": {"account": "7", "old": "x"}}


def test_refusals_look_as_stripes(fake: FakeStripe, api: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        api.v1.customers.create({"colour": "red"})
    assert (unknown.value.code, unknown.value.param, unknown.value.http_status) == ("parameter_unknown", "colour", 400)
    with pytest.raises(stripe.InvalidRequestError) as nested:
        api.v1.invoice_items.create({"customer": "cus_x", "period": {"from": 1}})
    assert (nested.value.code, nested.value.param) == ("parameter_unknown", "period[from]")
    with pytest.raises(stripe.InvalidRequestError) as missing:
        api.v1.payment_intents.create({"currency": "usd"})
    assert (missing.value.code, missing.value.param) == ("parameter_missing", "amount")
    with pytest.raises(stripe.InvalidRequestError) as nobody:
        api.v1.customers.retrieve("cus_nobody")
    assert (nobody.value.code, nobody.value.http_status) == ("resource_missing", 404)
    with pytest.raises(stripe.InvalidRequestError) as elsewhere:
        api.v1.invoices.create({"customer": "cus_nobody"})
    assert (elsewhere.value.code, elsewhere.value.param, elsewhere.value.http_status) == (
        *("resource_missing", "customer"),
        400,
    )
    with pytest.raises(stripe.AuthenticationError):
        stripe.StripeClient("sk_test_wrong", base_addresses={"api": fake.url}).v1.customers.list()
    assert httpx.get(f"{fake.url}/v1/customers").status_code == 401
    assert posted(fake, "/v1/customers", {}, **{"Stripe-Version": "2019-01-01"}).status_code == 400
    assert posted(fake, "/v1/unicorns", {}).status_code == 404
    answer = posted(fake, "/v1/customers", {})
    assert answer.headers["request-id"].startswith("req_")


def test_lists_come_in_pages_newest_first(api: stripe.StripeClient) -> None:
    made = [customer_of(api, name=str(number)) for number in range(12)]
    first = api.v1.customers.list({"limit": 5})
    assert ([each.id for each in first.data], first.has_more) == (made[:-6:-1], True)
    second = api.v1.customers.list({"limit": 5, "starting_after": first.data[-1].id})
    assert [each.id for each in second.data] == made[6:1:-1]
    back = api.v1.customers.list({"limit": 3, "ending_before": second.data[0].id})
    assert ([each.id for each in back.data], back.has_more) == (made[9:6:-1], True)
    assert [each.id for each in api.v1.customers.list({"limit": 7}).auto_paging_iter()] == made[::-1]
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.customers.list({"limit": 101})


def test_expand_puts_objects_in_place_of_ids(fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    intent = topped_up(api, customer, fake.give_card(customer))
    plain = api.v1.payment_intents.retrieve(intent.id)
    assert isinstance(plain.latest_charge, str)
    wide = api.v1.payment_intents.retrieve(intent.id, {"expand": ["latest_charge.balance_transaction", "customer"]})
    assert (wide.latest_charge.balance_transaction.fee, wide.customer.id) == (59, customer)
    listed = api.v1.charges.list({"expand": ["data.refunds"], "customer": customer})
    assert listed.data[0].refunds.data == []
    for path in ("amount", "nothing", "latest_charge.nothing"):
        with pytest.raises(stripe.InvalidRequestError):
            api.v1.payment_intents.retrieve(intent.id, {"expand": [path]})


def test_a_key_replays_what_it_was_answered(fake: FakeStripe) -> None:
    key = {"Idempotency-Key": "once"}
    first = posted(fake, "/v1/customers", {"name": "Ada"}, **key)
    again = posted(fake, "/v1/customers", {"name": "Ada"}, **key)
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    other = posted(fake, "/v1/customers", {"name": "Eve"}, **key)
    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
    elsewhere = posted(fake, "/v1/products", {"name": "Ada"}, **key)
    assert (elsewhere.status_code, elsewhere.json()["error"]["type"]) == (400, "idempotency_error")
    assert len(fake.customers()) == 1
    fake.advance(DAY - 60)
    assert posted(fake, "/v1/customers", {"name": "Ada"}, **key).content == first.content
    fake.advance(61)
    assert posted(fake, "/v1/customers", {"name": "Ada"}, **key).json()["id"] != first.json()["id"]
    assert len(fake.customers()) == 2


def test_a_request_that_was_never_begun_leaves_its_key_free(fake: FakeStripe) -> None:
    key = {"Idempotency-Key": "twice"}
    assert posted(fake, "/v1/customers", {"colour": "red"}, **key).status_code == 400
    assert posted(fake, "/v1/customers", {"name": "Ada"}, **key).status_code == 200


def test_a_refused_card_stays_refused_under_its_key(fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    method = fake.give_card(customer, "pm_card_chargeCustomerFail")
    for _ in range(2):
        with pytest.raises(stripe.CardError) as refused:
            topped_up(api, customer, method, idempotency_key="topup")
        assert (refused.value.http_status, refused.value.code) == (402, "card_declined")
        assert refused.value.json_body["error"]["decline_code"] == "generic_decline"
        assert refused.value.json_body["error"]["payment_intent"]["status"] == "requires_payment_method"
    assert [intent["status"] for intent in fake.objects("payment_intent")] == ["requires_payment_method"]
    assert [charge["status"] for charge in fake.objects("charge")] == ["failed"]


def test_one_key_in_two_requests_at_once(fake: FakeStripe) -> None:
    fake.fail("slow", path="/v1/customers", seconds=1.0)
    start = threading.Barrier(2)

    def post(_: int) -> httpx.Response:
        start.wait()
        return posted(fake, "/v1/customers", {"name": "Ada"}, **{"Idempotency-Key": "race"})

    with ThreadPoolExecutor(2) as threads:
        answers = sorted(threads.map(post, range(2)), key=lambda answer: answer.status_code)
    assert [answer.status_code for answer in answers] == [200, 409]
    assert answers[1].json()["error"]["code"] == "idempotency_key_in_use"
    assert len(fake.customers()) == 1


def test_a_top_up_is_charged_and_refunded_in_parts(fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    intent = topped_up(api, customer, fake.give_card(customer), 1_000)
    assert (intent.status, intent.amount_received) == ("succeeded", 1_000)
    api.v1.refunds.create({"payment_intent": intent.id, "amount": 300, "metadata": {"order": "1"}})
    charge = api.v1.charges.retrieve(intent.latest_charge)
    assert (charge.amount_refunded, charge.refunded) == (300, False)
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.refunds.create({"payment_intent": intent.id, "amount": 701})
    api.v1.refunds.create({"charge": charge.id})
    with pytest.raises(stripe.InvalidRequestError) as again:
        api.v1.refunds.create({"charge": charge.id})
    assert again.value.code == "charge_already_refunded"
    assert [refund.amount for refund in api.v1.refunds.list({"charge": charge.id}).data] == [700, 300]
    amounts = [event["data"]["object"]["amount_refunded"] for event in fake.events("charge.refunded")]
    assert amounts == [300, 1_000]


def test_sums_below_the_least_are_refused(fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    method = fake.give_card(customer)
    with pytest.raises(stripe.InvalidRequestError) as little:
        topped_up(api, customer, method, 49)
    assert little.value.code == "amount_too_small"
    assert topped_up(api, customer, method, 50).status == "succeeded"


def test_what_is_for_sale_from_the_start(fake: FakeStripe, api: stripe.StripeClient) -> None:
    price = api.v1.prices.retrieve(PRICE_PRO, {"expand": ["product"]})
    assert (price.unit_amount, price.recurring.interval, price.product.name) == (1_999, "month", "Spell Pro")
    assert fake.settings["STRIPE_PRICE_PRO"] == PRICE_PRO
    assert [each.id for each in api.v1.prices.list({"lookup_keys": ["spell_pro"]}).data] == [PRICE_PRO]


def test_a_stopped_one_answers_nobody(fake: FakeStripe) -> None:
    api = client_of(fake)
    customer_of(api)
    fake.stop()
    with pytest.raises(stripe.APIConnectionError):
        api.v1.customers.list()
    fake.start()
    assert len(api.v1.customers.list().data) == 1
