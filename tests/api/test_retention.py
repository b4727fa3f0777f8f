"""What callers see of a cast whose data is no longer kept, and of one whose data goes with the first reading."""

from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.api.platform import Account, Api, Rows


@pytest.fixture
def cast_id(api: Api, rows: Rows, account: Account) -> str:
    spell = rows.spell(account, f"s{uuid4().hex[:8]}")
    answer = api.http.post("/v1/casts", json={"spell": spell, "input": 1}, headers=account.headers)
    assert answer.json()["data_expired"] is False
    rows.finish(answer.json()["id"], output=b"[42]", log=b"secret")
    return str(answer.json()["id"])


def expires(rows: Rows, cast_id: str, interval: str, *, once: bool = False) -> None:
    rows.execute(
        "UPDATE casts SET data_expires_at = clock_timestamp() + %(interval)s::interval, data_once = %(once)s"
        " WHERE id = %(id)s",
        {"id": cast_id, "interval": interval, "once": once},
    )


def get(api: Api, account: Account, path: str) -> dict[str, Any]:
    answer = api.http.get(path, headers=account.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_data_is_shown_until_it_expires_and_not_a_moment_longer(
    api: Api, rows: Rows, account: Account, cast_id: str
) -> None:
    path = f"/v1/casts/{cast_id}"
    expires(rows, cast_id, "1 hour")
    body = get(api, account, path)
    assert (body["output"], body["log"], body["data_expired"]) == ([42], "secret", False)
    expires(rows, cast_id, "-1 second")
    for gone in (get(api, account, path), get(api, account, "/v1/casts")["data"][0]):
        assert (gone["output"], gone["output_encoding"], gone["log"]) == (None, None, "")
        assert (gone["data_expired"], gone["status"], gone["cost"]["cost_micros"]) == (True, "succeeded", 1_001)
        assert gone["data_expires_at"] is not None
    log = api.http.get(f"{path}/log", headers=account.headers)
    assert log.status_code == 404
    assert "was kept until" in log.json()["detail"]


def test_the_first_reading_is_the_last_and_lists_are_no_reading(
    api: Api, rows: Rows, account: Account, cast_id: str
) -> None:
    expires(rows, cast_id, "1 day", once=True)
    listed = get(api, account, "/v1/casts")["data"][0]
    assert (listed["output"], listed["log"], listed["data_expired"]) == (None, "", False)
    first = get(api, account, f"/v1/casts/{cast_id}")
    assert (first["output"], first["log"], first["data_expired"]) == ([42], "secret", False)
    stored = rows.execute("SELECT input, output, log FROM casts WHERE id = %(id)s", {"id": cast_id})
    assert stored == [(None, None, None)]
    second = get(api, account, f"/v1/casts/{cast_id}")
    assert (second["output"], second["log"], second["data_expired"]) == (None, "", True)
    assert second["usage"] == first["usage"]


def test_the_end_of_a_stream_of_events_is_a_reading(api: Api, rows: Rows, account: Account, cast_id: str) -> None:
    expires(rows, cast_id, "1 day", once=True)
    events = api.http.get(f"/v1/casts/{cast_id}/events", headers=account.headers).text
    assert '"output":[42]' in events
    again = api.http.get(f"/v1/casts/{cast_id}/events", headers=account.headers).text
    assert '"output":null' in again


def test_data_that_cannot_be_dropped_now_is_shown_and_goes_when_it_expires(
    api: Api, rows: Rows, account: Account, cast_id: str
) -> None:
    expires(rows, cast_id, "1 day", once=True)
    with psycopg.connect(rows.url) as other:
        other.execute("SET ROLE spell_owner")
        other.execute("LOCK TABLE casts IN SHARE MODE")  # readers pass, writers wait until their lock timeout
        body = get(api, account, f"/v1/casts/{cast_id}")
        assert body["output"] == [42]
    api.logged(lambda line: "dropped when it expires" in str(line))
