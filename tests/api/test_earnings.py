"""Earnings over HTTP, the SDK and the page: amounts are the ledger's, and nobody sees who paid."""

import asyncio
import csv
import io
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.flow.refund_cast import refund_cast
from domain.model.audit import OPERATOR
from domain.model.messages import Outcome
from domain.store.connection import Pool, Role, open_pool, transaction
from spell import AsyncClient, Client
from tests.api.platform import Account, Api, Rows
from tests.api.test_usage import cast

PRICE, SHARE = 500, 400
WON = Outcome.SUCCEEDED


@pytest.fixture
async def pool(rows: Rows) -> AsyncGenerator[Pool]:
    async with open_pool(rows.url, role=Role.ENGINE, size_max=2) as opened:
        yield opened


@pytest.fixture
def creator(rows: Rows) -> Account:
    return reader(rows)


def reader(rows: Rows) -> Account:
    """Return an account whose key may see what it earned."""
    made = rows.account()
    rows.execute("UPDATE api_keys SET scopes = '{billing:read}' WHERE account_id = %(id)s", {"id": made.id})
    return made


def get(api: Api, account: Account, path: str = "", status: int = 200, **query: str) -> Any:
    answer = api.http.get(f"/v1/earnings{path}", params=query, headers=account.headers)
    assert answer.status_code == status, answer.text
    return answer.json()


def book(rows: Rows, creator: Account, debit: str, credit: str, micros: int, kind: str) -> None:
    rows.execute(
        "INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, month)"
        " VALUES (%(new)s, %(new)s, %(kind)s, %(debit)s, %(credit)s, %(micros)s, %(id)s, '2026-11-01')",
        {"new": uuid4(), "kind": kind, "debit": debit, "credit": credit, "micros": micros, "id": creator.id},
    )


def amounts(view: dict[str, Any]) -> dict[str, int]:
    """Return the amounts that are not nothing, after the sum was looked at."""
    found = {name[:-7]: micros for name, micros in view.items() if name.endswith("_micros")}
    earned = found.pop("earned")
    assert sum(found.values()) == earned
    return {name: micros for name, micros in found.items() if micros}


async def refund(pool: Pool, cast_id: UUID) -> None:
    async with transaction(pool) as connection:
        await refund_cast(connection, cast_id=cast_id, reason="sorry", actor=OPERATOR, now=datetime.now(UTC))


async def test_what_spells_earned_is_the_ledgers_in_every_view(
    api: Api, rows: Rows, pool: Pool, creator: Account
) -> None:
    payer, other = rows.account(billing="on", subscribed=True), rows.account()
    often, seldom = rows.spell(creator, "often"), rows.spell(creator, "seldom")
    theirs = rows.spell(other, "theirs")
    first, *_ = await cast(rows, pool, payer, often, WON, WON, WON, price=PRICE)
    await cast(rows, pool, payer, seldom, WON, Outcome.TRAP, price=PRICE)
    await cast(rows, pool, payer, theirs, WON, price=PRICE)
    assert amounts(get(api, creator)) == {"pending": 4 * SHARE}
    await refund(pool, first.cast_id)
    view = get(api, creator)
    assert amounts(view) == {"pending": 3 * SHARE}
    today = datetime.now(UTC).date()
    assert view["months"][-1] == {
        "month": f"{today:%Y-%m}", "earned_micros": 4 * SHARE, "refunded_micros": SHARE,
    }  # fmt: skip
    assert len(view["months"]) == 6

    total = {"casts": 5, "earned_micros": 4 * SHARE, "refunded_micros": SHARE}
    days = get(api, creator, "/daily")
    assert days["total"] == total
    assert (len(days["data"]), days["data"][-1]) == (30, {"date": f"{today}", **total})
    assert days["data"][0] == {
        "date": f"{today - timedelta(days=29)}", "casts": 0, "earned_micros": 0, "refunded_micros": 0,
    }  # fmt: skip
    spells = get(api, creator, "/spells", **{"from": f"{today}", "to": f"{today}"})
    assert [(one["spell"], one["casts"], one["earned_micros"]) for one in spells["data"]] == [
        (often, 3, 3 * SHARE), (seldom, 2, SHARE),
    ]  # fmt: skip
    assert (spells["total"], spells["has_more"]) == (total, False)
    table = api.http.get("/v1/earnings/export", headers=creator.headers)
    assert table.headers["content-type"].startswith("text/csv")
    assert list(csv.DictReader(io.StringIO(table.text))) == [
        {"date": f"{today}", "spell": often, "casts": "3", "earned_micros": "1200", "refunded_micros": "400"},
        {"date": f"{today}", "spell": seldom, "casts": "2", "earned_micros": "400", "refunded_micros": "0"},
    ]
    assert payer.handle not in table.text
    yesterday = f"{today - timedelta(days=1)}"
    assert get(api, creator, "/daily", to=yesterday)["total"]["casts"] == 0
    assert amounts(get(api, reader(rows))) == {}


async def test_where_the_money_is(api: Api, rows: Rows, pool: Pool, creator: Account) -> None:
    payer = rows.account(billing="on", subscribed=True)
    await cast(rows, pool, payer, rows.spell(creator, "s"), *[WON] * 5, price=PRICE)
    pending, payable = f"creator:{creator.id}", f"payable:{creator.id}"
    book(rows, creator, pending, payable, 1_500, "share_collected")
    book(rows, creator, payable, "uncollected:platform", 200, "share_lost")
    assert amounts(get(api, creator)) == {"pending": 500, "payable": 1_300, "lost": 200}
    book(rows, creator, payable, f"paying:{creator.id}", 1_300, "payout")
    assert amounts(get(api, creator)) == {"pending": 500, "paid": 1_300, "lost": 200}
    book(rows, creator, payable, pending, 100, "share_returned")
    assert amounts(get(api, creator)) == {"pending": 600, "payable": -100, "paid": 1_300, "lost": 200}


async def test_nobody_is_billed_for_some_casts_and_nobody_earns_by_himself(
    api: Api, rows: Rows, pool: Pool, creator: Account
) -> None:
    spell = rows.spell(creator, "s")
    await cast(rows, pool, rows.account(billing="off"), spell, WON, price=PRICE)
    await cast(rows, pool, creator, spell, WON, price=PRICE)
    assert amounts(get(api, creator)) == {"unbilled": SHARE}
    assert get(api, creator, "/daily")["total"] == {"casts": 2, "earned_micros": 0, "refunded_micros": 0}


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-11-02", "to": "2026-11-01"}, {"from": "2024-01-01", "to": "2026-01-01"}, {"to": "9999-12-31"},
        {"from": "0001-01-01", "to": "0001-01-02"}, {"from": "1999-12-31", "to": "2000-01-01"}, {"from": "yesterday"},
        {"to": "2026-11-31"},
    ],
)  # fmt: skip
def test_days_that_cannot_be_are_refused(api: Api, creator: Account, query: dict[str, str]) -> None:
    for path in ("/daily", "/spells", "/export"):
        assert get(api, creator, path, 422, **query)["error"] == "validation"


async def test_the_sdk_and_the_page_say_the_same(api: Api, rows: Rows, pool: Pool, creator: Account) -> None:
    payer = rows.account(billing="on", subscribed=True)
    spell = rows.spell(creator, "s")
    await cast(rows, pool, payer, spell, WON, WON, price=PRICE)
    today = datetime.now(UTC).date()

    def ask() -> None:
        with Client(api_key=creator.key, base_url=api.url) as client:
            assert client.earnings.now().pending_micros == 2 * SHARE
            assert client.earnings.now().months[-1].earned_micros == 2 * SHARE
            (day,) = client.earnings.daily(first=today, last=today).data
            assert (day.date, day.earned_micros) == (today, 2 * SHARE)
            assert [one.spell for one in client.earnings.by_spell().data] == [spell]
            assert client.earnings.export(first=today).startswith(b"date,spell,casts")

    await asyncio.to_thread(ask)
    async with AsyncClient(api_key=creator.key, base_url=api.url) as client:
        assert (await client.earnings.now()).pending_micros == 2 * SHARE
        assert (await client.earnings.daily()).total.casts == 2
    page = api.http.get("/dashboard/earnings", headers=rows.session(creator).cookie)
    assert page.status_code == 200
    assert "Pending: <strong>$0.0008</strong>" in page.text
    assert f"<td>{spell}</td><td>2</td><td>$0.0008</td>" in page.text
    nothing = api.http.get("/dashboard/earnings", headers=rows.session(rows.account()).cookie)
    assert "Nothing yet" in nothing.text
