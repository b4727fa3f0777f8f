import json
from datetime import UTC, datetime

import psycopg
import pytest

from operate.commands import register
from spell.cli import EXIT_DONE, run, spell

PARK = (
    "INSERT INTO stripe_events (id, type, object_id, made_at, received_at, status, attempts, next_attempt_at, trouble,"
    " finished_at) VALUES (%s, 'invoice.paid', 'in_1', %s, %s, 'parked', 12, %s, 'no such invoice', %s)"
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    register(spell)
    monkeypatch.delenv("MIGRATIONS_DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL", database_url)


def test_parked_events_are_listed_and_tried_again(database_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    def answer(*arguments: str) -> str:
        assert run(list(arguments)) == EXIT_DONE
        return capfd.readouterr().out

    assert answer("inbox", "list") == ""
    now = datetime.now(UTC)
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name in ("evt_1", "evt_2", "evt_3"):
            connection.execute(PARK, (name, *[now] * 4))
    assert [line.split("\t")[0] for line in answer("inbox", "list").splitlines()] == ["evt_1", "evt_2", "evt_3"]
    assert "no such invoice" in answer("inbox", "list")
    assert json.loads(answer("inbox", "retry", "evt_2", "evt_9", "--json")) == {"retried": 1}
    assert [event["id"] for event in json.loads(answer("inbox", "list", "--json"))] == ["evt_1", "evt_3"]
    assert answer("inbox", "retry") == "2 events are tried again\n"
    assert answer("inbox", "list") == ""
