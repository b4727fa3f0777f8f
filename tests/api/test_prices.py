"""What a version costs, over HTTP: named by its creator, seen by everybody, held from the next cast on."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.platform import Account, Api, Rows

HOLD = 2_500


@pytest.fixture
def creator(rows: Rows) -> Account:
    made = rows.account()
    rows.execute(
        "UPDATE api_keys SET scopes = scopes || '{spells:write}'::text[] WHERE id = %(id)s", {"id": made.key_id}
    )
    return made


def name_price(api: Api, creator: Account, spell: str, price: Mapping[str, Any]) -> httpx.Response:
    return api.http.put(f"/v1/spells/{spell}/versions/1.0.0/price", json=price, headers=creator.headers)


def held(api: Api, account: Account, spell: str) -> int:
    answer = api.http.post("/v1/casts", json={"spell": spell, "input": 1}, headers=account.headers)
    assert answer.status_code == 202, answer.text
    return answer.json()["cost"]["held_micros"]


def put_in_force(rows: Rows, creator: Account) -> None:
    """Move every announcement of the creator's two weeks back."""
    rows.execute(
        "UPDATE spell_prices SET announced_at = announced_at - interval '15 days',"
        " effective_at = effective_at - interval '15 days' WHERE account_id = %(id)s",
        {"id": creator.id},
    )


def test_a_rise_is_announced_and_a_fall_counts_at_once(
    api: Api, rows: Rows, account: Account, creator: Account
) -> None:
    spell = rows.spell(creator, "priced")
    assert api.http.get(f"/v1/spells/{spell}").json()["latest"]["price"] == {
        "number": 0,
        "per_cast_micros": 0,
        "per_output_kib_micros": 0,
        "per_unit_micros": 0,
        "unit": None,
        "units_max": 0,
        "next": None,
    }
    risen = name_price(api, creator, spell, {"per_cast_micros": 700})
    assert risen.status_code == 200, risen.text
    coming = risen.json()["next"]
    notice = datetime.fromisoformat(coming["effective_at"]) - datetime.fromisoformat(coming["announced_at"])
    assert timedelta(days=14) <= notice <= timedelta(days=14, milliseconds=1)
    assert (risen.json()["per_cast_micros"], coming["per_cast_micros"]) == (0, 700)
    for shown in (
        api.http.get(f"/v1/spells/{spell}").json()["latest"],
        api.http.get(f"/v1/spells/{spell}/versions").json()["data"][0],
        api.http.get(f"/v1/spells/{spell}/versions/1.0.0").json(),
    ):
        assert (shown["price"], shown["price_micros"]) == (risen.json(), 0)
    assert held(api, account, spell) == HOLD
    put_in_force(rows, creator)
    name_price(api, creator, spell, {"per_cast_micros": 600})
    assert held(api, account, spell) == HOLD + 600
    assert held(api, creator, spell) == HOLD, "one's own spell costs the platform's price"


def test_a_cast_whose_price_moved_is_refused_when_its_caller_said_so(
    api: Api, rows: Rows, account: Account, creator: Account
) -> None:
    spell = rows.spell(creator, "moved")
    name_price(api, creator, spell, {"per_cast_micros": 700})
    put_in_force(rows, creator)
    body = {"spell": spell, "max_price_micros": HOLD + 699}
    refused = api.http.post("/v1/casts", json=body, headers=account.headers)
    assert (refused.status_code, refused.json()["error"], refused.json()["price_micros"]) == (
        409,
        "price_changed",
        HOLD + 700,
    )


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"per_cast_micros": -1}, "per_cast_micros"),
        ({"per_cast_micros": 1_000_000_001}, "per_cast_micros"),
        ({"per_unit_micros": 1}, "per_unit_micros"),
        ({"per_output_kib_micros": 1_000_000}, "price"),
    ],
)
def test_a_price_that_cannot_be_says_where(
    api: Api, rows: Rows, creator: Account, body: dict[str, Any], place: str
) -> None:
    answer = name_price(api, creator, rows.spell(creator, "wrong"), body)
    assert (answer.status_code, answer.json()["errors"][0]["location"]) == (422, place)
