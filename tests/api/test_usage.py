"""Usage over HTTP, from casts that went through admission and the gate: each number is also the ledger's."""

import csv
import io
import os
import uuid
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

import api.usage.export as export_module
from api.usage.export import csv_export, json_export
from domain.flow.reserve import reserve
from domain.flow.settle import settle
from domain.model.admission import Accepted, AdmissionRequest, CastSpec, Judged
from domain.model.admission_state import Terms
from domain.model.ids import ENTROPY_BYTES
from domain.model.jobs import job_of
from domain.model.limits import CastLimits
from domain.model.messages import Outcome
from domain.model.messages import Pool as WorkerPool
from domain.store.connection import Pool, Role, open_pool, transaction
from tests.api.platform import Account, Api, Rows
from tests.domain.events import event_of
from tests.domain.world import PRICE, TOKEN_KEY, standing

Settle = Callable[..., Any]
# Two free casts; what comes after is metered.
TERMS = Terms(price=PRICE, free_casts_per_month=2, billing_enabled=False, metered_limit_default_micros=10**12)


@pytest.fixture
async def pool(rows: Rows) -> AsyncGenerator[Pool]:
    async with open_pool(rows.url, role=Role.ENGINE, size_max=2) as opened:
        yield opened


async def cast(
    rows: Rows, pool: Pool, account: Account, reference: str, *outcomes: Outcome, keyless: bool = False, price: int = 0
) -> list[Accepted]:
    """Admit and settle one cast for each outcome, the n-th with n million fuel."""
    owner, _, name = reference.partition("/")
    ((spell_id, version_id, creator_id, digest),) = rows.execute(
        "SELECT s.id, v.id, s.account_id, v.digest FROM spells s JOIN spell_versions v ON v.spell_id = s.id"
        " JOIN accounts a ON a.id = s.account_id WHERE a.handle = %(owner)s AND s.name = %(name)s",
        {"owner": owner, "name": name},
    )
    spec = CastSpec(
        spell_id=spell_id,
        version_id=version_id,
        creator_id=creator_id,
        price=standing(version_id, price),
        digest=bytes(digest),
        pool=WorkerPool.DEFAULT,
        limits=CastLimits(),
        input=b"{}",
        deadline_ms=60_000,
    )
    request = AdmissionRequest(
        account_id=account.id, key_id=None if keyless else account.key_id, casts=(spec,) * len(outcomes)
    )
    async with transaction(pool) as connection:
        entropy = os.urandom(ENTROPY_BYTES * len(outcomes))
        (verdict,) = await reserve(connection, [request], TERMS, entropy=entropy)
    assert isinstance(verdict, Judged)
    accepted = [result for result in verdict.results if isinstance(result, Accepted)]
    events = [
        event_of(job_of(one, TOKEN_KEY), outcome, fuel=number * 1_000_000)
        for number, (one, outcome) in enumerate(zip(accepted, outcomes, strict=True), start=1)
    ]
    async with transaction(pool) as connection:
        await settle(connection, events, batch_id=uuid.uuid4(), token_key=TOKEN_KEY)
    return accepted


def get(api: Api, account: Account, path: str, **query: str) -> Any:
    answer = api.http.get(f"/v1/usage{path}", params=query, headers=account.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ledger(rows: Rows, account: Account, debit: str) -> int:
    return rows.execute(
        "SELECT coalesce(sum(amount_micros), 0)::bigint FROM ledger_transfers"
        " WHERE account_id = %(id)s AND debit = %(debit)s",
        {"id": account.id, "debit": debit},
    )[0][0]


async def test_every_view_of_a_month_has_the_same_sum_and_it_is_the_ledgers(api: Api, rows: Rows, pool: Pool) -> None:
    account, creator = rows.account(billing="on", subscribed=True), rows.account()
    other = rows.key(account.id, account.handle)
    own, theirs = rows.spell(account, "own"), rows.spell(creator, "theirs")
    won, lost = Outcome.SUCCEEDED, Outcome.TRAP
    await cast(rows, pool, account, own, won, won, lost)
    await cast(rows, pool, other, theirs, won, won, won, price=77)
    await cast(rows, pool, account, own, won, keyless=True)
    budget = api.http.post("/v1/budgets", json={"hard_limit_cents": 500}, headers=account.headers).json()

    now = datetime.now(UTC)
    usage = get(api, account, "")
    assert (usage["month"], usage["casts"], usage["failed"]) == (f"{now:%Y-%m}", 7, 1)
    funding = {part["funding"]: part["cost_micros"] for part in usage["by_funding"]}
    assert funding["metered"] == ledger(rows, account, f"receivable:{account.id}") > 0
    assert funding["free"] == ledger(rows, account, "allowance:platform") > 0
    assert usage["cost_micros"] == sum(funding.values())
    assert usage["cost_cents"] == usage["cost_micros"] // 10_000
    allowance = usage["free_allowance"]
    # The process gives a hundred casts, these tests' admission two of them.
    assert (allowance["used"], allowance["held"], allowance["left"]) == (2, 0, allowance["limit"] - 2)
    assert (usage["budget"]["id"], usage["budget"]["spent_micros"]) == (budget["id"], usage["cost_micros"])

    for by, names in (("spell", {own, theirs}), ("key", {account.prefix, other.prefix, ""})):
        found = get(api, account, "/breakdown", by=by)
        assert {part["name"] for part in found["data"]} == names
        for field in ("casts", "failed", "fuel", "cost_micros"):
            assert sum(part[field] for part in found["data"]) == found["total"][field] == usage[field]
        assert found["has_more"] is False
    by_key = {part["name"]: part["casts"] for part in get(api, account, "/breakdown", by="key")["data"]}
    assert by_key == {account.prefix: 3, other.prefix: 3, "": 1}
    days = get(api, account, "/breakdown", by="day")["data"]
    assert days[0]["name"] == f"{now:%Y-%m}-01"
    assert sum(day["cost_micros"] for day in days) == usage["cost_micros"]

    exported = get(api, account, "/export", format="json")
    assert exported["month"] == usage["month"]
    for field in ("fuel", "cost_micros"):
        assert sum(row[field] for row in exported["data"]) == usage[field]
    assert len(exported["data"]) == 7
    assert {row["outcome"] for row in exported["data"]} == {"succeeded", "trap"}


async def test_months_without_casts_are_zeros_and_others_see_nothing(api: Api, rows: Rows, pool: Pool) -> None:
    account, stranger = rows.account(), rows.account()
    await cast(rows, pool, account, rows.spell(account, "own"), Outcome.SUCCEEDED)
    trends = get(api, account, "/trends")["data"]
    assert [month["casts"] for month in trends] == [0, 0, 0, 0, 0, 1]
    assert trends[-1]["month"] == get(api, account, "")["month"]
    assert sorted({month["month"] for month in trends}) == [month["month"] for month in trends]
    assert get(api, account, "", month="2020-02")["casts"] == 0
    assert get(api, account, "/breakdown", by="day", month="2020-02")["data"][28]["name"] == "2020-02-29"
    for path in ("", "/breakdown"):
        assert get(api, stranger, path).get("casts", 0) == 0
    assert get(api, stranger, "/export", format="json")["data"] == []
    for path, query in (("", {"month": "2026"}), ("/breakdown", {"by": "moon"}), ("/export", {"format": "xml"})):
        answer = api.http.get(f"/v1/usage{path}", params=query, headers=account.headers)
        assert answer.status_code == 422
        assert next(iter(query)) in str(answer.json()["errors"])
    assert api.http.get("/api/usage", headers=account.headers).json()["casts"] == 1


async def test_a_spreadsheet_takes_no_name_for_a_formula(api: Api, rows: Rows, pool: Pool) -> None:
    account = rows.account()
    name = '=HYPERLINK("http://evil.example","a,b")'
    rows.execute("UPDATE api_keys SET name = %(name)s WHERE id = %(id)s", {"name": name, "id": account.key_id})
    await cast(rows, pool, account, rows.spell(account, "own"), Outcome.SUCCEEDED)
    answer = api.http.get("/v1/usage/export", headers=account.headers)
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"].endswith('.csv"')
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert row["key_name"] == f"'{name}"
    assert (row["spell"], row["cost_micros"], row["fuel"]) == (f"{account.handle}/own", "1002", "1000000")
    assert UUID(row["cast_id"]).version == 7


async def test_a_long_month_is_exported_page_by_page_without_gap_or_repeat(
    rows: Rows, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = rows.account()
    accepted = await cast(rows, pool, account, rows.spell(account, "own"), *[Outcome.SUCCEEDED] * 7)
    month = datetime.fromtimestamp(accepted[0].accepted_ms / 1000, UTC).date().replace(day=1)
    wanted = [str(one.cast_id) for one in accepted]
    for page in (1, 3, 7, 8):
        monkeypatch.setattr(export_module, "EVENTS_PER_PAGE", page)
        document = b"".join([part async for part in json_export(pool, account.id, month)])
        assert [row["cast_id"] for row in msgspec.json.decode(document)["data"]] == wanted
        table = b"".join([part async for part in csv_export(pool, account.id, month)])
        assert [row["cast_id"] for row in csv.DictReader(io.StringIO(table.decode()))] == wanted
