"""One tenant with a long line, and its neighbours. What is counted here is order; chaos measures the time."""

from collections import Counter
from collections.abc import Generator

import pytest

from api.admission.wire import CASTS_ON_WIRE_MAX
from domain.model.admission import ON_WIRE_PER_ACCOUNT_MAX
from tests.api.platform import Account
from tests.stack import Stack, until
from tests.system.crowd import (
    OVERTAKEN_BY_MAX,
    beside,
    casts_of,
    full_of_bytes,
    full_of_casts,
    most_on_wire,
    on_wire,
    queue,
    waiting,
)
from workers import keys

CROWD_CASTS = 3_000
RPM = 60
# Sent within a few seconds: far more than the fifty-fold rate.
REQUESTS = 5 * RPM


@pytest.fixture
def account(stack: Stack) -> Generator[Account]:
    yield stack.account()
    stack.start()
    stack.settle_all()
    assert stack.broken_books() == {}


def test_one_cast_does_not_wait_for_a_neighbours_thousands(stack: Stack, account: Account) -> None:
    crowd = stack.account()
    stack.stop("worker")
    queue(stack, crowd, CROWD_CASTS)
    assert on_wire(stack, crowd) == ON_WIRE_PER_ACCOUNT_MAX
    assert waiting(stack, crowd) == CROWD_CASTS - ON_WIRE_PER_ACCOUNT_MAX
    with stack.client(account) as http:
        accepted = http.post("/v1/casts", json={"spell": "dev/empty"})
    assert accepted.status_code == 202
    with stack.redis() as redis:
        open_set = keys.open_set("default")
        until(lambda: redis.scard(open_set) == ON_WIRE_PER_ACCOUNT_MAX + 1, "all that may be is on the wire")
    stack.start("worker")
    assert 0 < most_on_wire(stack, crowd) <= ON_WIRE_PER_ACCOUNT_MAX
    neighbour = beside(stack, crowd, accepted.json()["id"])
    assert neighbour.ended_before <= OVERTAKEN_BY_MAX
    assert neighbour.ended_after >= CROWD_CASTS - OVERTAKEN_BY_MAX
    assert casts_of(stack, crowd) == CROWD_CASTS


def refusals_while_full(stack: Stack, account: Account) -> int:
    """Cast until the first refusal, then some more that must all be refused; return how many were accepted."""
    accepted = 0
    with stack.client(account) as http:

        def is_full() -> bool:
            nonlocal accepted
            answer = http.post("/v1/casts", json={"spell": "dev/empty"})
            accepted += answer.status_code == 202
            return answer.status_code == 503

        until(is_full, "the queue is full")
        for _ in range(10):
            answer = http.post("/v1/casts", json={"spell": "dev/empty"})
            assert (answer.status_code, answer.json()["error"]) == (503, "queue_full")
            assert int(answer.headers["retry-after"]) >= 1
    return accepted


@pytest.mark.parametrize("kind", ["casts", "bytes"])
def test_a_full_queue_holds_nothing(stack: Stack, account: Account, kind: str) -> None:
    budget_id = stack.rows.budget(account, 10**9)
    with stack.client(account) as http, stack.redis() as redis:
        assert http.post("/v1/cast", json={"spell": "dev/empty"}).status_code == 200
        with full_of_casts(redis, CASTS_ON_WIRE_MAX) if kind == "casts" else full_of_bytes(redis):
            accepted = refusals_while_full(stack, account)
        assert casts_of(stack, account) == 1 + accepted
        stack.settle_all()
        window = "SELECT held_micros FROM budget_windows WHERE budget_id = %(id)s"
        assert stack.rows.execute(window, {"id": budget_id}) == [(0,)]
        until(lambda: http.post("/v1/cast", json={"spell": "dev/empty"}).status_code == 200, "there is room again")


def test_a_key_over_its_rate_takes_nothing_from_another(stack: Stack, account: Account) -> None:
    greedy = stack.account(rpm=RPM)
    with stack.client(greedy) as attacker, stack.client(account) as http:
        answers = Counter[int]()
        for number in range(REQUESTS):
            answers[attacker.post("/v1/casts", json={"spell": "dev/empty"}).status_code] += 1
            if number % 10 == 0:
                assert http.post("/v1/casts", json={"spell": "dev/empty"}).status_code == 202
    assert set(answers) == {202, 429}
    assert casts_of(stack, greedy) == answers[202]
    assert RPM <= answers[202] < REQUESTS // 2
