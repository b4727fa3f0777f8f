"""What can go wrong with a request to Stripe, and what is made of it."""

import pytest

from domain.environment import Secret
from domain.vendor_settings import StripeSettings
from gateways.stripe.client import StripeGateway
from gateways.stripe.errors import StripeBusy, StripeFailure, StripeRefused, StripeUnknown
from tests.gateways.stripe_wire import KEY, answer, problem, stripe_says


async def failure(said: bytes | None, *, seconds_max: float = 60.0) -> StripeFailure:
    async with stripe_says(said, seconds_max=seconds_max) as (gateway, wire):
        with pytest.raises(StripeFailure) as caught:
            await gateway.customers.create(email=None, name="Ada", account_id="a1", key="k")
        assert len(wire.asked) == 1, "nothing is repeated on its own"
    seen = f"{caught.value} {caught.value!r} {caught.value.__cause__!r} {vars(caught.value)}"
    assert KEY not in seen
    return caught.value


@pytest.mark.parametrize(
    ("status", "error", "code", "param"),
    [
        (400, {"type": "invalid_request_error", "code": "parameter_unknown", "param": "x"}, "parameter_unknown", "x"),
        (400, {"type": "idempotency_error", "message": "other parameters"}, "idempotency_error", None),
        (401, {"type": "invalid_request_error"}, "invalid_request_error", None),
        (402, {"type": "card_error", "code": "card_declined"}, "card_declined", None),
        (403, {"type": "invalid_request_error"}, "invalid_request_error", None),
        (404, {"type": "invalid_request_error", "code": "resource_missing"}, "resource_missing", None),
        (422, {"type": "whatever"}, "whatever", None),
    ],
)
async def test_a_4xx_is_a_definite_no(status: int, error: dict[str, str], code: str, param: str | None) -> None:
    refused = await failure(problem(status, **{"message": f"No: {KEY} and whsec_Canary0", **error}))
    assert isinstance(refused, StripeRefused)
    assert (refused.status, refused.code, refused.param, refused.request_id) == (status, code, param, "req_7")
    assert refused.is_missing == (status == 404)
    assert "whsec_Canary0" not in str(refused)


async def test_too_many_requests_did_nothing() -> None:
    busy = await failure(answer(429, {"error": {"message": "slower"}}, retry_after="3"))
    assert isinstance(busy, StripeBusy)
    assert (busy.status, busy.retry_after_s) == (429, 3)
    assert isinstance(await failure(problem(400, code="rate_limit")), StripeBusy)
    assert isinstance(await failure(answer(429, {"error": {}}, retry_after="soon")), StripeBusy)


@pytest.mark.parametrize("status", [500, 502, 503, 409, 302])
async def test_whatever_else_it_answers_leaves_it_in_doubt(status: int) -> None:
    unknown = await failure(problem(status, message="oops"))
    assert isinstance(unknown, StripeUnknown)
    assert (unknown.status, unknown.is_replayed) == (status, False)


async def test_a_stored_500_is_told_apart() -> None:
    unknown = await failure(answer(500, {"error": {"message": "oops"}}, idempotent_replayed="true"))
    assert isinstance(unknown, StripeUnknown)
    assert unknown.is_replayed


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
        answer(200, b"<html>"),
        answer(200, [1, 2]),
        answer(200, {"object": "customer"}),
        answer(500, b"<html>"),
        answer(404, b"<html>not Stripe at all"),
        b"not even HTTP\r\n\r\n",
    ],
)
async def test_half_an_answer_or_a_strange_one_leaves_it_in_doubt(said: bytes) -> None:
    assert isinstance(await failure(said), StripeUnknown)


async def test_an_answer_without_end_is_cut_off() -> None:
    assert isinstance(await failure(answer(200, b"x" * (8 * 1024 * 1024 + 1))), StripeUnknown)


async def test_no_answer_in_time_leaves_it_in_doubt() -> None:
    assert isinstance(await failure(None, seconds_max=0.2), StripeUnknown)


async def test_who_cannot_be_reached_did_nothing() -> None:
    async with stripe_says(b"") as (_, wire):
        port = wire.port
    unreachable = StripeSettings(
        secret_key=Secret(KEY), webhook_secret=Secret("w"), price_pro=None, api_base=f"http://127.0.0.1:{port}"
    )
    async with StripeGateway(unreachable) as gateway:
        with pytest.raises(StripeBusy, match="STRIPE_API_BASE"):
            await gateway.customers.retrieve("cus_1")
