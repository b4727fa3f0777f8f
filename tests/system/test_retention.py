"""Data that is kept until its first reading, through the whole platform: who gets it, and that nobody else does."""

from concurrent.futures import ThreadPoolExecutor

import httpx

from domain.model.limits import INLINE_BYTES_MAX
from tests.stack import Stack, until

DATA = "SELECT count(*) FROM casts WHERE id = %(id)s AND (input IS NOT NULL OR output IS NOT NULL OR log IS NOT NULL)"


def test_a_result_that_is_not_kept_reaches_its_first_reader_alone(stack: Stack) -> None:
    account = stack.account()
    stack.rows.execute("UPDATE accounts SET data_days = 0 WHERE id = %(id)s", {"id": account.id})
    text = "x" * (2 * INLINE_BYTES_MAX)
    with stack.client(account) as first, stack.client(account, api=1) as other:
        waited = first.post("/v1/cast", json={"spell": "dev/echo", "input": text}).json()
        assert (waited["output"], waited["data_expired"]) == (text, False)
        assert stack.rows.execute(DATA, {"id": waited["id"]}) == [(0,)]
        again = other.get(f"/v1/casts/{waited['id']}").json()
        assert (again["output"], again["log"], again["data_expired"]) == (None, "", True)
        assert again["cost"] == waited["cost"]
        assert again["data_expires_at"] < waited["data_expires_at"]

        polled = first.post("/v1/casts", json={"spell": "dev/fail"}).json()["id"]
        until(lambda: status(first, polled) == "failed", "the cast has ended")
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda n: (first, other)[n % 2].get(f"/v1/casts/{polled}").json(), range(8)))
        shown = [answer for answer in answers if answer["output"] == "No."]
        assert 1 <= len(shown) <= 8
        assert all(answer["data_expired"] for answer in answers if answer not in shown)
        assert stack.rows.execute(DATA, {"id": polled}) == [(0,)]
        assert first.get(f"/v1/casts/{polled}").json()["data_expired"]
    assert stack.broken_books() == {}


def status(client: httpx.Client, cast_id: str) -> str:
    """Ask without reading the data: lists leave it out."""
    return next(cast["status"] for cast in client.get("/v1/casts").json()["data"] if cast["id"] == cast_id)
