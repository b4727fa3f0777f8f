"""Who may do what: every route there is, asked by everybody there is, against `tests/api/access_table.py`."""

import inspect
import re
import secrets
import time
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from litestar.handlers import HTTPRouteHandler

from api.access import Access
from api.access_log import Log
from api.app import create_app, routes
from api.casts.openapi import CAST_PATHS
from api.web_safety import SAFE_METHODS
from domain.settings import ApiSettings, load
from local.servers import Servers
from tests.api.access_ground import EVERY_SCOPE, Asked, ask_all, key, make_ground
from tests.api.access_table import (
    ANY_KEY,
    AUDITED_ELSEWHERE,
    OPEN,
    OPERATOR,
    PUBLIC,
    ROWS,
    SESSION,
    UNAUDITED,
    WORKER,
    Row,
)
from tests.api.modules import WORKER_TOKEN
from tests.api.platform import ADMIN_SECRET, Api, Rows, api_environment, run_api

# `{cast_id:uuid}` of a handler is `{cast_id}` in the document.
KIND_OF_PARAMETER = re.compile(":[a-z]+}")


@pytest.fixture(scope="module")
def api(
    api_database_url: str, servers: Servers, rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Api]:
    del rows
    folder = tmp_path_factory.mktemp("api")
    with run_api(api_database_url, servers.redis_url, folder, WORKER_TOKEN=WORKER_TOKEN) as running:
        yield running


def expected(row: Row) -> dict[str, int]:
    """Return the status each caller gets."""
    if row.who == PUBLIC:
        everybody = ("anonymous", "revoked", "expired", "powerless", "test_key", "stranger", "right")
        return dict.fromkeys(everybody, row.right)
    dead = {"revoked": 401, "expired": 401, "test_key": 403 if row.test_key is None else row.test_key}
    if row.who == WORKER:
        return {
            **dead,
            "test_key": 401,
            "anonymous": 401,
            "stranger": 401,
            "powerless": 401,
            "owner": 401,
            "right": row.right,
        }
    if row.who == SESSION:
        nobody = dict.fromkeys(("powerless", "stranger", "owner", "right"), 403)
        other = row.right if row.stranger is None else row.stranger
        return {**dead, **nobody, "anonymous": 401, "foreign_session": other, "session": row.right}
    if row.who == OPERATOR:
        return {**dead, "anonymous": 401, "powerless": 403, "guesser": 401, "secret": row.right, "right": row.right}
    other = row.right if row.stranger is None else row.stranger
    if row.who == OPEN:
        everybody = dict.fromkeys(("anonymous", "powerless", "test_key"), row.right)
        return {**dead, **everybody, "stranger": other, "right": row.right}
    powerless = {} if row.who == ANY_KEY else {"powerless": 403}
    return {**dead, **powerless, "anonymous": 401, "stranger": other, "creator": other, "right": row.right}


def expected_without_key(row: Row) -> dict[str, int]:
    """Return the status of people, and of the operator's secret beside no key; the owner asks last."""
    right = row.right if row.signed_in is None else row.signed_in
    other = right if row.stranger is None else row.stranger
    if row.who == WORKER:
        return {"secret": 401, "foreign_session": 401, "admin": 401, "session": 401}
    if row.who == OPERATOR:
        return {"foreign_session": 403, "session": 403, "secret": right, "admin": right}
    secret = row.right if row.who in {PUBLIC, OPEN} else 401
    # Outside of /admin the role gives nothing: to a tenant an admin is a stranger.
    return {"secret": secret, "foreign_session": other, "admin": other, "session": right}


def check_audited(row: Row, found: Mapping[str, Asked], right: str) -> None:
    """A refused request, and one that changes nothing, leaves no entry; one that changes something leaves one."""
    route = (row.method, row.path)
    changes = row.method not in SAFE_METHODS and route not in UNAUDITED
    for caller, asked in found.items():
        most = 1 if changes and asked.status < 400 else 0
        assert len(asked.audited) <= most, (caller, asked)
    if changes and found[right].status < 400:
        assert len(found[right].audited) == 1, "call domain.flow.audit.audit in the flow, or say why not in UNAUDITED"
    elif changes:
        assert route in AUDITED_ELSEWHERE, "say which test sees this route succeed, and looks for its entry"


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
    wanted = expected(row)
    callers = {caller: special[caller] if caller in special else getattr(ground, caller).headers for caller in wanted}
    found = ask_all(api, rows, row, ground, callers)
    assert {caller: asked.status for caller, asked in found.items()} == wanted
    check_audited(row, found, next(reversed(wanted)))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.path}")
def test_every_route_answers_people_and_admins_as_the_table_says(api: Api, rows: Rows, row: Row) -> None:
    ground = make_ground(api, rows, row)
    wanted = expected_without_key(row)
    secret = {"x-admin-secret": ADMIN_SECRET}
    callers = {caller: secret if caller == "secret" else getattr(ground, caller).headers for caller in wanted}
    found = ask_all(api, rows, row, ground, callers)
    assert {caller: asked.status for caller, asked in found.items()} == wanted
    check_audited(row, found, next(reversed(wanted)))


def test_every_route_said_to_be_audited_elsewhere_has_its_test() -> None:
    for named in AUDITED_ELSEWHERE.values():
        file_name, _, test = named.partition("::")
        assert f"def {test}(" in (Path(__file__).parent / file_name).read_text()


def test_every_operation_of_the_document_stands_in_the_table(api: Api) -> None:
    document = api.http.get("/openapi.json").json()
    told = {(row.method, KIND_OF_PARAMETER.sub("}", row.path)) for row in ROWS}
    written = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert sorted(written - told) == []
    assert len(written) > 50


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
