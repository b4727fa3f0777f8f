"""Who may do what: every route there is, asked by everybody there is, against `tests/api/access_table.py`."""

import inspect
import secrets
import time
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from litestar.handlers import HTTPRouteHandler

from api.access import Access
from api.access_log import Log
from api.app import create_app, routes
from api.casts.openapi import CAST_PATHS
from domain.model.key_rules import KeyScope
from domain.settings import ApiSettings, load
from local.servers import Servers
from tests.api.access_table import ANY_KEY, OPEN, OPERATOR, PUBLIC, ROWS, SESSION, WORKER, Row
from tests.api.modules import WORKER_TOKEN
from tests.api.platform import ADMIN_SECRET, Account, Api, Rows, Signed, api_environment, run_api

_ADMIN_SCOPE = {OPERATOR: "admin"}
EVERY_SCOPE = frozenset(map(str, KeyScope))


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """One owner with one of everything, made anew for each row, and everybody who might ask for it."""

    paths: dict[str, str]
    spell: str
    owner: Account
    """Has every scope."""
    right: Account
    """Has the one scope of the row."""
    powerless: Account
    """Has every scope but those of the row."""
    revoked: Account
    expired: Account
    stranger: Account
    creator: Account
    """Of the spell that was cast; it may see nothing of the cast."""
    session: Signed
    """The owner, signed in."""
    foreign_session: Signed


@pytest.fixture(scope="module")
def api(
    api_database_url: str, servers: Servers, rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Api]:
    del rows
    folder = tmp_path_factory.mktemp("api")
    with run_api(api_database_url, servers.redis_url, folder, WORKER_TOKEN=WORKER_TOKEN) as running:
        yield running


def key(rows: Rows, account: Account, scopes: frozenset[str]) -> Account:
    made = rows.key(account.id, account.handle)
    rows.execute(
        "UPDATE api_keys SET scopes = %(scopes)s WHERE id = %(id)s", {"scopes": sorted(scopes), "id": made.key_id}
    )
    return made


def scopes_of(row: Row) -> frozenset[str]:
    names = (_ADMIN_SCOPE.get(row.who, row.who),) if isinstance(row.who, str) else row.who
    return frozenset(names) & EVERY_SCOPE


def make_ground(api: Api, rows: Rows, row: Row) -> Ground:
    account, stranger, creator = rows.account(), rows.account(), rows.account()
    owner = key(rows, account, EVERY_SCOPE)
    revoked, expired = key(rows, account, EVERY_SCOPE), key(rows, account, EVERY_SCOPE)
    rows.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %(id)s", {"id": revoked.key_id})
    rows.execute("UPDATE api_keys SET expires_at = now() WHERE id = %(id)s", {"id": expired.key_id})
    spell = rows.spell(creator, "noop")
    own = rows.spell(account, "own")
    cast = api.http.post("/v1/casts", json={"spell": spell, "input": 1}, headers=owner.headers)
    assert cast.status_code == 202, cast.text
    rows.finish(cast.json()["id"])
    budget = rows.budget(account, 10**9)
    if row.path == "/v1/budgets" and row.method == "DELETE":
        budget = rows.budget(stranger, 10**9)  # theirs; the owner's monthly one is found by its period
        rows.execute("DELETE FROM budgets WHERE id = %(id)s", {"id": budget})
    session = rows.session(account)
    return Ground(
        paths={
            "session_id": str(rows.session(account).id),
            **(export(rows, session) if "export_id" in row.path else {}),
            **(webhook(api, owner) if "webhook" in row.path or "delivery" in row.path else {}),
            "cast_id": cast.json()["id"],
            "prefix": key(rows, account, frozenset()).prefix,
            "budget_id": str(budget),
            "owner": own.partition("/")[0],
            "name": "own",
            "version": "1.0.0",
            "pool": "default",
            "entry_id": "1-1",
            "digest": "0" * 64,
            "code": "not_found",
        },
        spell=spell,
        owner=owner,
        right=key(rows, account, scopes_of(row)),
        powerless=key(rows, account, EVERY_SCOPE - scopes_of(row)),
        revoked=revoked,
        expired=expired,
        stranger=key(rows, stranger, EVERY_SCOPE),
        creator=key(rows, creator, EVERY_SCOPE),
        session=session,
        foreign_session=rows.session(stranger),
    )


def webhook(api: Api, owner: Account) -> dict[str, str]:
    made = api.http.post("/v1/webhooks", json={"url": "https://example.com/hook"}, headers=owner.headers)
    tried = api.http.post(f"/v1/webhooks/{made.json()['id']}/test", headers=owner.headers)
    return {"webhook_id": made.json()["id"], "delivery_id": tried.json()["id"]}


def export(rows: Rows, session: Signed) -> dict[str, str]:
    parameters = {"id": uuid4(), "user": session.user_id, "bytes": b"zip"}
    rows.execute(
        "INSERT INTO privacy_exports (id, account_id, user_id, status, created_at, expires_at, pieces, size_bytes)"
        " SELECT %(id)s, account_id, id, 'ready', now(), now() + interval '1 day', 1, 3 FROM users WHERE id = %(user)s",
        parameters,
    )
    rows.execute(
        "INSERT INTO privacy_export_pieces SELECT id, account_id, 0, %(bytes)s FROM privacy_exports WHERE id = %(id)s",
        parameters,
    )
    return {"export_id": str(parameters["id"])}


def ask(api: Api, row: Row, ground: Ground, headers: dict[str, str]) -> int:
    path = row.path
    for name, value in ground.paths.items():
        for kind in ("uuid", "str"):
            path = path.replace(f"{{{name}:{kind}}}", value)
    assert "{" not in path, f"tests/api/test_access.py: say in make_ground what fills {path}"
    body: dict[str, Any] = {}
    if row.json is not None:
        body["content"] = msgspec.json.encode(row.json).replace(b"{spell}", ground.spell.encode())
        headers = {**headers, "content-type": "application/json"}
    elif row.form is not None:
        body["data"] = row.form
    elif row.content is not None:
        body["content"] = row.content
        headers = {**headers, "content-type": "application/wasm"}
    query = "?engine=none" if row.who == WORKER else ""
    headers = {"prefer": "wait=0", **headers}
    with api.http.stream(row.method, path + query, headers=headers, **body) as answer:
        return answer.status_code  # what streams need not end first


def expected(row: Row) -> dict[str, int]:
    """Return the status each caller gets."""
    if row.who == PUBLIC:
        return dict.fromkeys(("anonymous", "revoked", "expired", "powerless", "stranger", "right"), row.right)
    dead = {"revoked": 401, "expired": 401}
    if row.who == WORKER:
        return {**dead, "anonymous": 401, "stranger": 401, "powerless": 401, "owner": 401, "right": row.right}
    if row.who == SESSION:
        nobody = dict.fromkeys(("powerless", "stranger", "owner", "right"), 403)
        other = row.right if row.stranger is None else row.stranger
        return {**dead, **nobody, "anonymous": 401, "foreign_session": other, "session": row.right}
    if row.who == OPERATOR:
        return {**dead, "anonymous": 401, "powerless": 403, "guesser": 401, "secret": row.right, "right": row.right}
    other = row.right if row.stranger is None else row.stranger
    if row.who == OPEN:
        return {**dead, "anonymous": row.right, "stranger": other, "powerless": row.right, "right": row.right}
    powerless = {} if row.who == ANY_KEY else {"powerless": 403}
    return {**dead, **powerless, "anonymous": 401, "stranger": other, "creator": other, "right": row.right}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.path}")
def test_every_route_answers_everybody_as_the_table_says(api: Api, rows: Rows, row: Row) -> None:
    """The right caller asks last: what a route ends or changes, the others must have left alone."""
    ground = make_ground(api, rows, row)
    special = {
        "anonymous": {},
        "secret": {"x-admin-secret": ADMIN_SECRET},
        "guesser": {"x-admin-secret": ADMIN_SECRET[:-1] + "!", **ground.right.headers},
        **({"right": {"authorization": f"Bearer {WORKER_TOKEN}"}} if row.who == WORKER else {}),
    }
    found = {
        caller: ask(api, row, ground, special[caller] if caller in special else getattr(ground, caller).headers)
        for caller in expected(row)
    }
    assert found == expected(row)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Litestar 3 wants other annotations than 2.25 needs
async def test_every_route_stands_in_the_table_and_says_what_it_needs(api_database_url: str, servers: Servers) -> None:
    settings = load(ApiSettings, api_environment(api_database_url, servers.redis_url, 1))
    log = Log(settings.log_level, now=lambda: datetime.now(UTC), write=lambda _: None)
    _, services = create_app(settings, log=log, clock=time.monotonic, now=lambda: datetime.now(UTC))
    served: set[tuple[str, str]] = set()
    for handler in routes(services):
        if not isinstance(handler, HTTPRouteHandler):
            paths = set(getattr(handler, "paths", ()))
            served |= {(method.upper(), path) for path in paths for method in CAST_PATHS[path]}
            continue
        served |= {(method, path) for path in handler.paths for method in handler.http_methods}
        if "principal" in inspect.signature(handler.fn).parameters:
            said = handler.opt.get("access")
            assert isinstance(said, Access), f"say access=needs(...) in the decorator of {sorted(handler.paths)}"
    services.authenticator.close()
    await services.redis.aclose()
    told = [(row.method, row.path) for row in ROWS]
    assert len(set(told)) == len(told)
    assert sorted(served - set(told)) == [], "tests/api/access_table.py needs a row for each of these"
    assert sorted(set(told) - served) == [], "tests/api/access_table.py has a row for what is not served"


def test_a_scope_that_concerns_others_is_given_by_the_operator_alone(api: Api, rows: Rows) -> None:
    """Neither a key without it, nor a change, nor a rotation of a key that has it gets anybody `admin` or `service`."""
    account = rows.account()
    maker = key(rows, account, EVERY_SCOPE - {"admin", "service"})
    weak = key(rows, account, frozenset())
    strong = key(rows, account, frozenset({"admin"}))
    for scope in ("admin", "service"):
        made = api.http.post("/v1/keys", json={"name": "x", "scopes": [scope]}, headers=maker.headers)
        changed = api.http.patch(f"/v1/keys/{weak.prefix}", json={"scopes": [scope]}, headers=maker.headers)
        assert (made.status_code, changed.status_code) == (403, 403)
        assert "operator" in made.json()["detail"]
    assert api.http.post(f"/v1/keys/{strong.prefix}/rotate", headers=maker.headers).status_code == 403
    assert api.http.post(f"/v1/keys/{strong.prefix}/rotate", headers=strong.headers).status_code == 200


def test_an_unknown_key_of_the_right_form_is_nobody(api: Api) -> None:
    text = f"sk_live_{secrets.token_hex(4)}_{'0' * 38}"
    assert api.http.get("/v1/keys", headers={"authorization": f"Bearer {text}"}).status_code == 401
    assert api.http.get(f"/v1/casts/{uuid4()}", headers={"authorization": "Bearer"}).status_code == 401
