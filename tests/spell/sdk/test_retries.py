"""When a request is sent again, how long after, and what never is."""

import itertools
import json
from typing import Any

import httpx
import pytest

from spell import (
    BudgetExceeded,
    CastRequest,
    ConnectionFailed,
    OutcomeUnknown,
    PriceChanged,
    RateLimited,
    ServerBusy,
    TimedOut,
    ValidationError,
)
from tests.spell.sdk.answers import CAST, DONE, LIMIT
from tests.spell.sdk.clients import Do, Time
from tests.spell.sdk.servers import Scripted, answer, refusal, reset


def cast_it(client: Any) -> Any:
    return client.cast("ada/echo", {"a": 1})


def cast_it_later(client: Any) -> Any:
    return client.casts.cast_async("ada/echo")


def keys_of(server: Scripted) -> list[str]:
    return [seen.headers["idempotency-key"] for seen in server.seen]


MONEY = [
    (402, "insufficient_credits"),
    (402, "free_tier_exhausted"),
    (402, "payment_required"),
    (402, "spend_paused"),
    (402, "a_code_of_next_year"),
    (409, "price_changed"),
    (409, "conflict"),
]


@pytest.mark.parametrize(("status", "code"), MONEY)
def test_a_refusal_about_money_is_sent_exactly_once(
    server: Scripted, do: Do, time: Time, status: int, code: str
) -> None:
    server.will(refusal(status, code, retry_after=1, retryable=True), answer(200, DONE))
    with pytest.raises(Exception, match=code):
        do(server.url, cast_it, time=time)
    assert (len(server.seen), time.slept) == (1, [])


def test_budget_exceeded_says_what_blocked_and_is_sent_once(server: Scripted, do: Do) -> None:
    server.will(refusal(402, "budget_exceeded", limit=LIMIT, period="monthly"))
    with pytest.raises(BudgetExceeded) as caught:
        do(server.url, cast_it)
    error = caught.value
    assert (error.limit_id, error.scope, error.period) == (LIMIT["id"], "account", "monthly")
    assert (error.limit_micros, error.spent_micros, error.held_micros, error.needed_micros) == (10000, 9000, 500, 2500)
    assert error.resets_at.isoformat() == "2026-12-01T00:00:00+00:00"
    assert error.raise_url == LIMIT["raise_url"]
    assert len(server.seen) == 1


def test_a_price_that_rose_is_told_and_not_paid(server: Scripted, do: Do) -> None:
    server.will(refusal(409, "price_changed", price_micros=7000))
    with pytest.raises(PriceChanged) as caught:
        do(server.url, cast_it)
    assert (caught.value.price_micros, len(server.seen)) == (7000, 1)


TROUBLE = {
    "429": refusal(429, "rate_limited"),
    "too many open": refusal(429, "too_many_open_casts"),
    "502": answer(502, b"<html>bad gateway</html>"),
    "503": refusal(503, "queue_full"),
    "504": answer(504),
    "internal": refusal(500, "internal_error", retryable=True),
    "reset": reset,
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_a_retried_post_is_the_same_request_under_the_same_key(server: Scripted, do: Do, trouble: str) -> None:
    server.will(TROUBLE[trouble], TROUBLE[trouble], answer(200, DONE))
    assert do(server.url, cast_it).result() == {"n": 1}
    assert len(server.seen) == 3
    assert len(set(keys_of(server))) == 1
    assert len({(seen.method, seen.path, seen.body) for seen in server.seen}) == 1


def test_each_call_has_a_key_of_its_own_and_the_callers_is_taken(server: Scripted, do: Do) -> None:
    server.will(answer(200, DONE), answer(200, DONE), answer(200, DONE))
    do(server.url, cast_it)
    do(server.url, cast_it)
    do(server.url, lambda client: client.cast("ada/echo", idempotency_key="order-17"))
    first, second, own = keys_of(server)
    assert first != second
    assert own == "order-17"


def test_a_server_that_stays_silent_is_asked_again(do: Do, time: Time) -> None:
    asked: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) == 1:
            message = "silent"
            raise httpx.ReadTimeout(message, request=request)
        return httpx.Response(200, json=CAST)

    found = do("http://spell.example", cast_it_later, time=time, transport=httpx.MockTransport(serve))
    assert (found.status, time.slept) == ("queued", [0.25])
    assert asked[0].headers["idempotency-key"] == asked[1].headers["idempotency-key"]


def test_silence_to_the_end_is_timed_out_with_the_key_to_repeat_with(server: Scripted, do: Do) -> None:
    server.will(*[server.silent] * 2)
    with pytest.raises(TimedOut, match="/v1/casts") as caught:
        do(server.url, cast_it_later, timeout=0.1, retries_max=1)
    assert caught.value.idempotency_key


def test_a_platform_that_is_not_there_is_told_plainly(server: Scripted, do: Do, time: Time) -> None:
    url = server.url
    server.close()
    with pytest.raises(ConnectionFailed, match="is the platform running"):
        do(url, cast_it, time=time)
    assert len(time.slept) == 4


def test_retry_after_is_waited_for_and_jitter_comes_on_top(server: Scripted, do: Do, time: Time) -> None:
    server.will(refusal(429, "rate_limited", retry_after=7), answer(200, DONE))
    do(server.url, cast_it, time=time, chance=lambda: 0.5)
    assert time.slept == [7.25]


def test_pauses_grow_are_bounded_and_are_jittered_in_full(server: Scripted, do: Do) -> None:
    for chance, expected in ((0.0, [0.0] * 6), (0.5, [0.25, 0.5, 1.0, 2.0, 4.0, 4.0])):
        time = Time()
        server.will(*[answer(503)] * 7)
        with pytest.raises(ServerBusy):
            do(server.url, cast_it, time=time, retries_max=6, chance=lambda chance=chance: chance)
        assert time.slept == expected


def test_there_are_retries_max_retries_and_no_more(server: Scripted, do: Do) -> None:
    server.will(*[refusal(429, "rate_limited", retry_after=1)] * 3, answer(200, DONE))
    with pytest.raises(RateLimited) as caught:
        do(server.url, cast_it, retries_max=2)
    assert (len(server.seen), caught.value.retry_after) == (3, 1)


def test_a_retry_that_would_come_after_the_total_timeout_is_not_waited_for(
    server: Scripted, do: Do, time: Time
) -> None:
    server.will(refusal(429, "rate_limited", retry_after=3600))
    with pytest.raises(RateLimited) as caught:
        do(server.url, cast_it_later, time=time, total_timeout=100)
    assert (caught.value.retry_after, time.slept, len(server.seen)) == (3600, [], 1)


def test_what_does_not_fit_is_sent_once_and_each_place_is_named(server: Scripted, do: Do) -> None:
    fault = {"location": "limits.fuel", "message": "too much", "fix": "Send less."}
    server.will(refusal(422, "validation", errors=[fault]))
    with pytest.raises(ValidationError, match=r"limits\.fuel: too much\. Send less\.") as caught:
        do(server.url, cast_it)
    assert [place.location for place in caught.value.faults] == ["limits.fuel"]
    assert (len(server.seen), caught.value.request_id) == (1, "r-1")


def test_an_unknown_outcome_is_asked_again_under_the_same_key(server: Scripted, do: Do) -> None:
    server.will(refusal(503, "outcome_unknown", cast_ids=[CAST["id"]], retryable=True), answer(200, DONE))
    assert do(server.url, cast_it).status == "succeeded"
    assert len(set(keys_of(server))) == 1


def test_an_outcome_that_stays_unknown_is_looked_up_by_id(server: Scripted, do: Do) -> None:
    unknown = refusal(503, "outcome_unknown", cast_ids=[CAST["id"]], retryable=True)
    server.will(unknown, unknown, answer(200, DONE))
    assert do(server.url, cast_it, retries_max=1).status == "succeeded"
    assert (server.seen[-1].method, server.seen[-1].path) == ("GET", f"/v1/casts/{CAST['id']}")


def test_an_outcome_nobody_knows_is_raised_with_ids_and_key(server: Scripted, do: Do) -> None:
    unknown = refusal(503, "outcome_unknown", cast_ids=[CAST["id"]], retryable=True)
    server.will(unknown, unknown, refusal(404, "not_found"))
    with pytest.raises(OutcomeUnknown) as caught:
        do(server.url, cast_it, retries_max=1)
    assert caught.value.cast_ids == (CAST["id"],)
    assert caught.value.idempotency_key == keys_of(Filtered(server, "POST"))[0]


class Filtered:
    def __init__(self, server: Scripted, method: str) -> None:
        self.seen = [seen for seen in server.seen if seen.method == method]


def test_a_deletion_whose_answer_was_lost_is_done(server: Scripted, do: Do) -> None:
    server.will(reset, refusal(404, "not_found"))
    assert do(server.url, lambda client: client.keys.revoke("sk_live_abcdefgh")) is None
    server.will(refusal(503, "overloaded"), refusal(404, "not_found"))
    with pytest.raises(Exception, match="not_found"):
        do(server.url, lambda client: client.keys.revoke("sk_live_abcdefgh"))


def test_a_batch_goes_in_parts_each_under_a_key_of_its_own(server: Scripted, do: Do) -> None:
    def verdicts(count: int) -> Any:
        return answer(200, {"results": [{"status": 202, "cast": CAST}] * count})

    server.will(verdicts(1000), answer(503), verdicts(1))
    found = do(server.url, lambda client: client.casts.batch([CastRequest("ada/echo", n) for n in range(1001)]))
    assert [verdict.accepted().id for verdict in found] == [CAST["id"]] * 1001
    first, second, again = keys_of(server)
    assert first != second == again
    sent = [json.loads(seen.body)["casts"] for seen in server.seen]
    assert [cast["input"] for cast in itertools.chain(sent[0], sent[2])] == list(range(1001))


def test_a_batch_keeps_the_bodys_bound(server: Scripted, do: Do) -> None:
    server.will(*[answer(200, {"results": [{"status": 202, "cast": CAST}] * count}) for count in (2, 1)])
    big = [CastRequest("ada/echo", "x" * 3_000_000) for _ in range(3)]
    assert len(do(server.url, lambda client: client.casts.batch(big))) == 3
    assert all(len(seen.body) <= 8 * 1024 * 1024 for seen in server.seen)


def test_a_later_part_that_is_refused_leaves_the_verdicts_before_it(server: Scripted, do: Do) -> None:
    server.will(answer(200, {"results": [{"status": 202, "cast": CAST}] * 1000}), refusal(401, "unauthorized"))
    found = do(server.url, lambda client: client.casts.batch([CastRequest("ada/echo")] * 1002))
    assert [verdict.error is None for verdict in found] == [True] * 1000 + [False] * 2
    with pytest.raises(Exception, match="unauthorized"):
        found[-1].accepted()


def test_a_repeated_batch_that_hides_which_were_refused_is_an_unknown_outcome(server: Scripted, do: Do) -> None:
    server.will(answer(200, {"results": [{"status": 200, "cast": CAST}]}))
    with pytest.raises(OutcomeUnknown, match="1 of 2") as caught:
        do(server.url, lambda client: client.casts.batch([CastRequest("ada/echo")] * 2))
    assert caught.value.cast_ids == (CAST["id"],)


def test_an_accepted_cast_is_not_lost_with_the_connection(server: Scripted, do: Do) -> None:
    server.will(answer(202, CAST), *[reset] * 2)
    with pytest.raises(ConnectionFailed) as caught:
        do(server.url, cast_it, retries_max=1)
    assert caught.value.accepted is not None
    assert caught.value.accepted.id == CAST["id"]
