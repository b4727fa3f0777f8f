"""POST /v1/casts/batch: one request, a verdict for each cast."""

from typing import Any

import pytest

from tests.api.platform import Account, Api, Rows


@pytest.fixture
def spell(rows: Rows, account: Account) -> str:
    return rows.spell(account, "echo")


def send(api: Api, account: Account, casts: list[Any], **headers: str) -> Any:
    return api.http.post("/v1/casts/batch", json={"casts": casts}, headers={**account.headers, **headers})


def test_each_cast_has_its_own_verdict_in_order(api: Api, rows: Rows, account: Account, spell: str) -> None:
    rows.budget(account, 5_000)
    casts = [{"spell": spell}, {"spell": spell, "x": 1}, {"spell": spell}, {"spell": "no/body"}, {"spell": spell}]
    answer = send(api, account, casts)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [202, 422, 202, 404, 402]
    assert results[1]["error"]["errors"][0]["location"] == "x"
    assert results[4]["error"]["limit"]["held_micros"] == 5_000
    stored = rows.execute("SELECT id::text FROM casts WHERE account_id = %(id)s ORDER BY id", {"id": account.id})
    assert [row[0] for row in stored] == [results[0]["cast"]["id"], results[2]["cast"]["id"]]


def test_a_batch_is_replayed_as_a_whole(api: Api, rows: Rows, account: Account, spell: str) -> None:
    casts = [{"spell": spell, "input": n} for n in range(3)]
    first = send(api, account, casts, **{"idempotency-key": "b"})
    again = send(api, account, casts, **{"idempotency-key": "b"})
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    assert send(api, account, casts[:2], **{"idempotency-key": "b"}).status_code == 422
    assert rows.execute("SELECT count(*) FROM casts WHERE account_id = %(id)s", {"id": account.id}) == [(3,)]


def test_a_replay_keeps_the_place_of_what_was_refused(api: Api, rows: Rows, account: Account, spell: str) -> None:
    rows.budget(account, 5_000)
    casts = [{"spell": "no/body"}, {"spell": spell}, {"spell": spell, "x": 1}, {"spell": spell}, {"spell": spell}]
    first = send(api, account, casts, **{"idempotency-key": "b"}).json()["results"]
    assert [result["status"] for result in first] == [404, 202, 422, 202, 402]
    rows.execute("UPDATE budgets SET deleted_at = now()")
    again = send(api, account, casts, **{"idempotency-key": "b"})
    assert again.headers["idempotent-replayed"] == "true"
    results = again.json()["results"]
    assert [result["status"] for result in results] == [409, 202, 409, 202, 409]
    assert [results[place]["cast"]["id"] for place in (1, 3)] == [first[place]["cast"]["id"] for place in (1, 3)]
    assert [results[place]["error"]["error"] for place in (0, 2, 4)] == ["refused_before"] * 3
    assert rows.execute("SELECT count(*) FROM casts WHERE account_id = %(id)s", {"id": account.id}) == [(2,)]


def test_a_replay_of_before_places_were_kept_shows_what_was_accepted(
    api: Api, rows: Rows, account: Account, spell: str
) -> None:
    casts = [{"spell": spell}, {"spell": "no/body"}]
    first = send(api, account, casts, **{"idempotency-key": "b"}).json()["results"]
    rows.execute("UPDATE idempotency_keys SET cast_ids = cast_ids[1:1]")
    assert send(api, account, casts, **{"idempotency-key": "b"}).json()["results"] == first[:1]


def test_a_batch_is_one_request_for_the_rate(api: Api, rows: Rows, account: Account, spell: str) -> None:
    slow = rows.key(account.id, account.handle, rpm=2)
    assert [result["status"] for result in send(api, slow, [{"spell": spell}] * 5).json()["results"]] == [202] * 5
    assert send(api, slow, [{"x": 1}]).json()["results"][0]["status"] == 422
    assert send(api, slow, [{"spell": spell}] * 5).status_code == 429


def test_a_thousand_casts_and_no_more(api: Api, account: Account, spell: str) -> None:
    answer = send(api, account, [{"spell": spell}] * 1_000)
    assert len({result["cast"]["id"] for result in answer.json()["results"]}) == 1_000
    for casts in ([], [{"spell": spell}] * 1_001):
        assert send(api, account, casts).status_code == 422
