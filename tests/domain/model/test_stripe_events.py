"""What is read of an event, and what is refused though it was signed."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from domain.model.stripe_events import PAUSE_S_MAX, BadEventError, StripeEvent, pause_s, read_event

INVOICE = {"id": "in_1", "object": "invoice", "customer": "cus_1", "status": "open", "lines": [1, 2]}
EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "invoice.paid",
    "created": 1_790_000_000,
    "data": {"object": INVOICE, "previous_attributes": {}},
    "livemode": False,
}
READ = StripeEvent(
    id="evt_1",
    type="invoice.paid",
    object_id="in_1",
    customer_id="cus_1",
    connected_account_id=None,
    made_at=datetime.fromtimestamp(1_790_000_000, tz=UTC),
)


def read(**changed: object) -> StripeEvent:
    return read_event(msgspec.json.encode({**EVENT, **changed}))


def test_the_news_in_an_event() -> None:
    assert read() == READ
    assert read(account="acct_1").connected_account_id == "acct_1"


@pytest.mark.parametrize(
    ("thing", "object_id", "customer_id"),
    [
        ({"id": "cus_2", "object": "customer"}, "cus_2", "cus_2"),
        ({"id": "in_2", "object": "invoice", "customer": {"id": "cus_3", "object": "customer"}}, "in_2", "cus_3"),
        ({"object": "balance", "available": []}, None, None),
        ({"id": 7, "customer": ["x"]}, None, None),
        ({"id": "x" * 256, "customer": ""}, None, None),
        ({"id": "a\u0000b", "customer": "a\nb"}, None, None),
    ],
)
def test_what_it_is_about(thing: dict[str, Any], object_id: str | None, customer_id: str | None) -> None:
    found = read(data={"object": thing})
    assert (found.object_id, found.customer_id) == (object_id, customer_id)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"\xff",
        b"[1]",
        msgspec.json.encode({**EVENT, "object": "v2.core.event"}),
        msgspec.json.encode({**EVENT, "id": ""}),
        msgspec.json.encode({**EVENT, "id": "e\u0000"}),
        msgspec.json.encode({**EVENT, "type": "x" * 256}),
        msgspec.json.encode({**EVENT, "created": -1}),
        msgspec.json.encode({**EVENT, "created": 10**15}),
        msgspec.json.encode({**EVENT, "data": None}),
        msgspec.json.encode({**EVENT, "data": {"object": []}}),
    ],
)
def test_what_is_no_event(body: bytes) -> None:
    with pytest.raises(BadEventError):
        read_event(body)


def test_pauses_grow_up_to_a_bound() -> None:
    assert [pause_s(attempt) for attempt in (1, 2, 3, 10, 11, 1_000)] == [1, 2, 4, 512, PAUSE_S_MAX, PAUSE_S_MAX]
