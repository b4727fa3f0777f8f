"""Receipts, quotes and refunds over HTTP, with casts that were really settled."""

import base64
from collections.abc import Generator
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from joserfc import jws
from joserfc.jwk import KeySet

from domain.flow.settle import settle
from domain.model.limits import CastLimits
from domain.model.messages import Outcome, UsageEvent, cast_token
from domain.store.connection import Role, open_pool, transaction
from local.servers import Servers
from tests.api.platform import ADMIN_SECRET, Account, Api, Rows, run_api
from tests.api.test_prices import HOLD, name_price, put_in_force

TOKEN_KEY = bytes(range(32))
# RFC 8037's example of a public key, and the thumbprint it gives for it.
RETIRED = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
RETIRED_KID = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
ADMIN = {"x-admin-secret": ADMIN_SECRET}


@pytest.fixture(scope="module")
def api(
    api_database_url: str, servers: Servers, rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Api]:
    """The api of the other test files, with a token key these tests know."""
    del rows
    settings = {"CAST_TOKEN_KEY": TOKEN_KEY.hex(), "RECEIPT_RETIRED_KEYS": RETIRED.hex()}
    with run_api(api_database_url, servers.redis_url, tmp_path_factory.mktemp("api"), **settings) as running:
        yield running


@pytest.fixture
def account(rows: Rows) -> Account:
    return rows.account(billing="on", subscribed=True)


@pytest.fixture
def creator(rows: Rows) -> Account:
    made = rows.account()
    rows.execute(
        "UPDATE api_keys SET scopes = scopes || '{spells:write}'::text[] WHERE id = %(id)s", {"id": made.key_id}
    )
    return made


def cast(api: Api, account: Account, spell: str, **fields: Any) -> dict[str, Any]:
    answer = api.http.post("/v1/casts", json={"spell": spell, "input": 1, **fields}, headers=account.headers)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def end(rows: Rows, made: dict[str, Any], outcome: Outcome = Outcome.SUCCEEDED, **fields: Any) -> UUID:
    """Settle a cast as the ledger does, by what a worker would claim."""
    cast_id, digest = UUID(made["id"]), bytes.fromhex(made["digest"].removeprefix("sha256:"))
    token = cast_token(TOKEN_KEY, cast_id=cast_id, digest=digest, limits=CastLimits())
    event = UsageEvent(
        cast_id=cast_id, token=token, outcome=outcome, exit_code=0, fuel=1_000_000, started_ms=1, output=b"42"
    )
    async with open_pool(rows.url, role=Role.ENGINE, size_max=1) as pool, transaction(pool) as connection:
        events = [msgspec.structs.replace(event, **fields)]
        done = await settle(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)
    assert [ending.cast.id for ending in done.endings] == [cast_id], done
    return cast_id


def receipt(api: Api, account: Account, cast_id: UUID) -> dict[str, Any]:
    answer = api.http.get(f"/v1/casts/{cast_id}/receipt", headers=account.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def signed(api: Api, text: str) -> dict[str, Any]:
    """Return what a JWS says, checked by somebody else's library with the published keys."""
    found = jws.deserialize_compact(
        text.encode(), KeySet.import_key_set(api.http.get("/.well-known/jwks.json").json()), algorithms=["Ed25519"]
    )
    assert found.headers()["typ"] == "spell-receipt+jws"
    return msgspec.json.decode(found.payload)


async def test_a_receipt_says_what_was_held_and_charged_and_is_signed(
    api: Api, rows: Rows, account: Account, creator: Account
) -> None:
    spell = rows.spell(creator, "priced")
    name_price(api, creator, spell, {"per_cast_micros": 503, "per_output_kib_micros": 2})
    put_in_force(rows, creator)
    made = cast(api, account, spell)
    path = f"/v1/casts/{made['id']}/receipt"
    assert api.http.get(path, headers=account.headers).status_code == 409, "it has not ended"
    cast_id = await end(rows, made, output=b"x" * 1_025)
    whole = receipt(api, account, cast_id)
    said = whole["receipt"]
    assert signed(api, whole["jws"]) == said, "every field is signed"
    assert said["hold"] == {
        "held_micros": HOLD + 503 + 2_048,
        "captured_micros": 1_002 + 507,
        "released_micros": 1_498 + 2_044,
        "waived_micros": 0,
        "pays_for": "everything",
        "reason": "The cast gave a result: fee, fuel and the creator's price are charged.",
    }
    assert [(line["what"], line["quantity"], line["amount_micros"]) for line in said["lines"]] == [
        ("fee", 1, 1_000),
        ("fuel", 1_000_000, 2),
        ("creator", 1, 503),
        ("output_kib", 2, 4),
    ]
    assert (said["platform_micros"], said["creator_micros"]) == (1_002 + 101, 406)
    assert (said["spell"], said["version"], said["digest"]) == (spell, "1.0.0", made["digest"])
    assert (said["key"], said["account"], said["funding"]) == (account.prefix, account.handle, "metered")
    booked = rows.execute(
        "SELECT id, kind, amount_micros FROM ledger_transfers WHERE batch_id = %(id)s ORDER BY kind",
        {"id": said["ledger"]["batch_id"]},
    )
    named = [(UUID(one["id"]), one["kind"], one["amount_micros"]) for one in said["ledger"]["transfers"]]
    assert sorted(named, key=lambda one: one[1]) == booked
    assert receipt(api, account, cast_id) == whole, "it says the same each time"


@pytest.mark.parametrize(
    ("outcome", "fields", "captured", "waived", "pays_for"),
    [
        (Outcome.TRAP, {}, 1_002, 503, "platform"),
        (Outcome.WALL_TIME_EXCEEDED, {"fuel": None}, 1_000, 503, "platform"),
        (Outcome.SANDBOX_CRASHED, {"fuel": None}, 0, 1_503, "nothing"),
        (Outcome.EXIT_NONZERO, {"exit_code": 3}, 1_505, 0, "everything"),
    ],
)
async def test_a_failure_is_charged_by_its_class_and_the_receipt_says_so(
    api: Api,
    rows: Rows,
    account: Account,
    creator: Account,
    *,
    outcome: Outcome,
    fields: dict[str, Any],
    captured: int,
    waived: int,
    pays_for: str,
) -> None:
    spell = rows.spell(creator, "breaks")
    name_price(api, creator, spell, {"per_cast_micros": 503})
    put_in_force(rows, creator)
    hold = receipt(api, account, await end(rows, cast(api, account, spell), outcome, **fields))["receipt"]["hold"]
    assert (hold["captured_micros"], hold["waived_micros"], hold["pays_for"]) == (captured, waived, pays_for)
    assert hold["captured_micros"] + hold["released_micros"] == hold["held_micros"] == HOLD + 503


async def test_canceled_before_the_start_costs_nothing(api: Api, rows: Rows, account: Account) -> None:
    made = cast(api, account, rows.spell(account, "own"))
    api.http.post(f"/v1/casts/{made['id']}/cancel", headers=account.headers)
    hold = receipt(api, account, UUID(made["id"]))["receipt"]["hold"]
    assert (hold["pays_for"], hold["released_micros"]) == ("nothing", HOLD)


async def test_a_receipt_outlives_the_data(api: Api, rows: Rows, account: Account) -> None:
    cast_id = await end(rows, cast(api, account, rows.spell(account, "own")))
    before = receipt(api, account, cast_id)
    rows.execute(
        "UPDATE casts SET input = NULL, output = NULL, log = NULL, data_expires_at = now() WHERE id = %(id)s",
        {"id": cast_id},
    )
    assert receipt(api, account, cast_id) == before
    assert before["receipt"]["used"]["output_bytes"] == 2


async def test_a_refund_is_made_once_and_told(api: Api, rows: Rows, account: Account, creator: Account) -> None:
    spell = rows.spell(creator, "refunded")
    name_price(api, creator, spell, {"per_cast_micros": 500})
    put_in_force(rows, creator)
    cast_id = await end(rows, cast(api, account, spell))
    body = {"reason": "it answered nonsense"}
    first = api.http.post(f"/admin/casts/{cast_id}/refund", json=body, headers=ADMIN)
    assert (first.status_code, first.json()["amount_micros"], first.json()["made"]) == (200, 1_502, True)
    again = api.http.post(f"/admin/casts/{cast_id}/refund", json={"reason": "again"}, headers=ADMIN)
    assert again.json() == {**first.json(), "made": False}
    whole = receipt(api, account, cast_id)
    assert signed(api, whole["jws"]) == whole["receipt"]
    told = whole["receipt"]["refund"]
    assert (told["amount_micros"], told["reason"]) == (1_502, "it answered nonsense")
    owed = rows.execute(
        "SELECT sum(CASE WHEN debit = %(a)s THEN amount_micros ELSE -amount_micros END) FROM ledger_transfers"
        " WHERE %(a)s IN (debit, credit)",
        {"a": f"receivable:{account.id}"},
    )
    earned = rows.execute(
        "SELECT sum(CASE WHEN credit = %(c)s THEN amount_micros ELSE -amount_micros END) FROM ledger_transfers"
        " WHERE %(c)s IN (debit, credit)",
        {"c": f"creator:{creator.id}"},
    )
    assert (owed, earned) == ([(0,)], [(0,)])
    log = rows.execute(
        "SELECT actor_kind, target_id, after ->> 'reason' FROM audit_log WHERE action = 'cast.refund'"
        " AND account_id = %(id)s",
        {"id": account.id},
    )
    assert log == [("admin", str(cast_id), "it answered nonsense")]


def test_there_is_nothing_to_pay_back_of_an_open_cast(api: Api, rows: Rows, account: Account) -> None:
    made = cast(api, account, rows.spell(account, "own"))
    answer = api.http.post(f"/admin/casts/{made['id']}/refund", json={"reason": "x"}, headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    assert api.http.post(f"/admin/casts/{uuid4()}/refund", json={"reason": "x"}, headers=ADMIN).status_code == 404


def ask_quote(api: Api, account: Account, spell: str, **body: Any) -> httpx.Response:
    return api.http.post(f"/v1/spells/{spell}/quote", json=body, headers=account.headers)


async def test_a_quote_keeps_its_price_when_the_price_has_risen(
    api: Api, rows: Rows, account: Account, creator: Account
) -> None:
    spell = rows.spell(creator, "quoted")
    name_price(api, creator, spell, {"per_cast_micros": 100})
    put_in_force(rows, creator)
    answer = ask_quote(api, account, spell, input=1, limits={"fuel": 10**6})
    assert answer.status_code == 200, answer.text
    quote = answer.json()
    assert (quote["max_price_micros"], quote["version"], quote["limits"]["fuel"]) == (1_102, "1.0.0", 10**6)
    assert quote["rates"]["creator_per_cast_micros"] == 100
    name_price(api, creator, spell, {"per_cast_micros": 900})
    put_in_force(rows, creator)
    rows.execute("UPDATE spell_prices SET announced_at = effective_at WHERE effective_at < announced_at")
    assert cast(api, account, spell)["cost"]["held_micros"] == HOLD + 900
    promised = cast(api, account, spell, quote=quote["quote"])
    assert promised["cost"]["held_micros"] == 1_102, "limits of the quote, at its price"
    held = {"limits": {"fuel": 10**7}, "quote": quote["quote"]}
    dearer = api.http.post("/v1/casts", json={"spell": spell, **held}, headers=account.headers)
    assert (dearer.status_code, dearer.json()["error"]) == (409, "price_changed"), "never above what was quoted"
    batch = {"casts": [{"spell": spell, "input": 1, "quote": quote["quote"]}, {"spell": spell, "quote": "x"}]}
    results = api.http.post("/v1/casts/batch", json=batch, headers=account.headers).json()["results"]
    assert [result["status"] for result in results] == [202, 422]
    assert results[0]["cast"]["cost"]["held_micros"] == 1_102


def test_a_quote_is_for_whom_and_what_it_was_made(api: Api, rows: Rows, account: Account, creator: Account) -> None:
    spell, other = rows.spell(creator, "mine"), rows.spell(creator, "other")
    quote = ask_quote(api, account, spell).json()["quote"]
    head, payload, signature = quote.split(".")
    claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=="))
    cheaper = msgspec.json.encode({**claims, "max_price_micros": 1})
    forged = ".".join([head, base64.urlsafe_b64encode(cheaper).rstrip(b"=").decode(), signature])
    for body, headers in (
        ({"spell": other, "quote": quote}, account.headers),
        ({"spell": f"{spell}@2", "quote": quote}, account.headers),
        ({"spell": spell, "quote": quote}, rows.account().headers),
        ({"spell": spell, "quote": forged}, account.headers),
        ({"spell": spell, "quote": quote + "x" * 5_000}, account.headers),
    ):
        answer = api.http.post("/v1/casts", json=body, headers=headers)
        assert (answer.status_code, answer.json()["errors"][0]["location"]) == (422, "quote"), answer.text
    assert cast(api, account, f"{spell}@1.0.0", quote=quote)["cost"]["held_micros"] == HOLD


def test_a_quote_checks_what_a_cast_would(api: Api, rows: Rows, account: Account) -> None:
    spell = rows.spell(account, "strict", manifest={"input_schema": {"type": "string"}, "limits": {"fuel": 5}})
    for body, place in (
        ({"input": 1}, "input"),
        ({"input": "a", "limits": {"fuel": 6}}, "limits.fuel"),
        ({"inputs": 1}, "inputs"),
    ):
        answer = ask_quote(api, account, spell, **body)
        assert (answer.status_code, answer.json()["errors"][0]["location"]) == (422, place)
    assert ask_quote(api, account, spell, input="a", version="7").status_code == 404
    assert ask_quote(api, account, f"{account.handle}/nothing").status_code == 404


def test_the_keys_are_those_of_receipts_and_artifacts(api: Api) -> None:
    answer = api.http.get("/.well-known/jwks.json")
    keys = answer.json()["keys"]
    assert [(key["kty"], key["crv"], key["alg"], key["purpose"]) for key in keys] == [
        ("OKP", "Ed25519", "Ed25519", "receipts"),
        ("OKP", "Ed25519", "Ed25519", "receipts"),
        ("OKP", "Ed25519", "Ed25519", "artifacts"),
    ]
    assert keys[1]["kid"] == RETIRED_KID, "what was signed before stays provable"
    assert all("d" not in key for key in keys)
    assert answer.headers["cache-control"] == "public, max-age=300"
