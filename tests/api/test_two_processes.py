"""Several api processes share one truth: budgets, rates, idempotency, revocation."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from local.servers import Servers
from tests.api.platform import Account, Api, Rows, run_api


@pytest.fixture(scope="module")
def second(api: Api, rows: Rows, servers: Servers, folder: Path) -> Iterator[Api]:
    del api
    with run_api(rows.url, servers.redis_url, folder) as running:
        yield running


@pytest.fixture
def spell(rows: Rows, account: Account) -> str:
    return rows.spell(account, "echo")


def storm(
    processes: tuple[Api, Api], requests: int, account: Account, body: object, **headers: str
) -> list[tuple[int, str]]:
    """Send `requests` at one moment, half to each process, and return status and cast id of each."""
    callers = 32
    barrier = Barrier(callers)

    def send(caller: int) -> list[tuple[int, str]]:
        barrier.wait()
        found: list[tuple[int, str]] = []
        for number in range(caller, requests, callers):
            http = processes[number % 2].http
            answer = http.post("/v1/casts", json=body, headers={**account.headers, **headers})
            found.append((answer.status_code, answer.json().get("id", answer.json().get("error"))))
        return found

    with ThreadPoolExecutor(callers) as threads:
        return [one for found in threads.map(send, range(callers)) for one in found]


def test_a_hard_budget_is_never_passed_and_never_refuses_too_early(
    api: Api, second: Api, rows: Rows, account: Account, spell: str
) -> None:
    budget_id = rows.budget(account, 50 * 2_500)
    answers = storm((api, second), 400, account, {"spell": spell})
    assert Counter(status for status, _ in answers) == {202: 50, 402: 350}
    window = rows.execute(
        "SELECT held_micros, spent_micros FROM budget_windows WHERE budget_id = %(id)s", {"id": budget_id}
    )
    assert window == [(50 * 2_500, 0)]
    held = rows.execute(
        "SELECT sum(held_micros)::bigint, count(*) FROM casts WHERE account_id = %(id)s", {"id": account.id}
    )
    assert held == [(50 * 2_500, 50)]


def test_a_rate_holds_across_processes(api: Api, second: Api, rows: Rows, account: Account, spell: str) -> None:
    slow = rows.key(account.id, account.handle, rpm=20)
    answers = storm((api, second), 100, slow, {"spell": spell})
    counts = Counter(status for status, _ in answers)
    assert counts[202] in {20, 21, 22}, counts  # a request of the next seconds may have come back
    assert counts[202] + counts[429] == 100


def test_an_idempotency_key_holds_across_processes(
    api: Api, second: Api, rows: Rows, account: Account, spell: str
) -> None:
    answers = storm((api, second), 64, account, {"spell": spell}, **{"idempotency-key": "one"})
    assert {status for status, _ in answers} == {202}
    assert len({cast_id for _, cast_id in answers}) == 1
    assert rows.execute("SELECT count(*) FROM casts WHERE account_id = %(id)s", {"id": account.id}) == [(1,)]


def test_a_key_revoked_elsewhere_casts_nothing_from_that_moment(
    api: Api, second: Api, rows: Rows, account: Account, spell: str
) -> None:
    for process in (api, second):
        assert process.http.post("/v1/casts", json={"spell": spell}, headers=account.headers).status_code == 202
    revoked = api.http.delete(f"/v1/keys/{account.prefix}", headers=account.headers)
    if revoked.status_code == 403:  # keys end themselves only with the scope for it
        rows.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %(id)s", {"id": account.key_id})
    assert second.http.post("/v1/casts", json={"spell": spell}, headers=account.headers).status_code == 401
