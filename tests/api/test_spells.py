import base64
import hashlib
import json
import select
import socket
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from api.spells.publishing import UPLOADS_PER_ACCOUNT_MAX
from domain.model.artifacts import artifact_statement
from domain.model.limits import MODULE_BYTES_MAX
from domain.model.manifest import MANIFEST_BYTES_MAX
from domain.model.schema import SCHEMA_BYTES_MAX
from gateways.signing import Signer, Verifier
from local.servers import Servers
from tests.api.modules import SIGNING_KEY, SPELL, WORKER_TOKEN, module, wat
from tests.api.platform import Account, Api, Rows, run_api

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def api(
    api_database_url: str, servers: Servers, rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Api]:
    """The api of the other test files, started with secrets that these tests know."""
    del rows
    settings = {"WORKER_TOKEN": WORKER_TOKEN, "ARTIFACT_SIGNING_KEY": SIGNING_KEY.hex()}
    with run_api(api_database_url, servers.redis_url, tmp_path_factory.mktemp("api"), **settings) as running:
        yield running


@pytest.fixture
def creator(rows: Rows) -> Account:
    made = rows.account()
    rows.execute(
        "UPDATE api_keys SET scopes = scopes || '{spells:write}'::text[] WHERE id = %(id)s", {"id": made.key_id}
    )
    return made


def publish(
    api: Api, creator: Account, content: bytes, *, name: str = "words", version: str = "1.0.0", owner: str | None = None
) -> httpx.Response:
    return api.http.put(
        f"/v1/spells/{owner or creator.handle}/{name}/versions/{version}",
        content=content,
        headers={**creator.headers, "content-type": "application/wasm"},
    )


def publish_form(
    api: Api, creator: Account, content: bytes, manifest: bytes | None, *, version: str = "1.0.0", **more: bytes
) -> httpx.Response:
    files = {"module": ("m.wasm", content, "application/wasm"), **{name: (name, part) for name, part in more.items()}}
    if manifest is not None:
        files["spell.json"] = ("spell.json", manifest, "application/json")
    return api.http.put(f"/v1/spells/{creator.handle}/words/versions/{version}", files=files, headers=creator.headers)


def test_a_version_is_published_once_read_back_and_never_changed(api: Api, creator: Account) -> None:
    manifest = {"description": "Counts.", "limits": {"fuel": 5_000_000, "wall_ms": 40_000}, "tags": ["text"]}
    content = module(1, manifest)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    made = publish(api, creator, content)
    assert made.status_code == 201, made.text
    body = made.json()
    assert (body["spell"], body["version"], body["digest"], body["size_bytes"]) == (
        f"{creator.handle}/words",
        "1.0.0",
        digest,
        len(content),
    )
    assert (body["limits"]["fuel"], body["limits_max"]["fuel"], body["pool"]) == (5_000_000, 5_000_000, "large")
    assert (body["imports"], body["manifest"], body["yanked"]) == ([], manifest, False)
    again = publish(api, creator, content)
    assert (again.status_code, again.json()) == (200, body)
    other = publish(api, creator, module(2))
    assert (other.status_code, other.json()["error"]) == (409, "version_exists")
    assert digest in other.json()["detail"]
    form = publish_form(api, creator, content, b'{"description": "Else."}')
    assert (form.status_code, form.json()["error"]) == (409, "version_exists")
    shown = api.http.get(made.headers["location"])
    assert shown.json() == body
    assert api.http.get(f"/v1/spells/{creator.handle}/words").json()["latest"] == body
    path = f"{made.headers['location']}/module"
    assert api.http.get(path, headers=creator.headers).content == content
    assert api.http.get(path).status_code == 401


def test_an_artifact_carries_the_platforms_signature_and_needs_the_workers_token(
    api: Api, rows: Rows, creator: Account
) -> None:
    content = module(3)
    assert publish(api, creator, content).status_code == 201
    digest = hashlib.sha256(content).digest()
    ((engine,),) = rows.execute("SELECT engine_key FROM artifacts WHERE module_digest = %(d)s", {"d": digest})
    url = f"/internal/artifacts/{digest.hex()}"
    answer = api.http.get(url, params={"engine": engine}, headers={"authorization": f"Bearer {WORKER_TOKEN}"})
    assert answer.status_code == 200
    statement = artifact_statement(
        digest=digest, engine_key=engine, artifact_sha256=hashlib.sha256(answer.content).digest()
    )
    verifier = Verifier(Signer(base64.b64encode(SIGNING_KEY).decode()).verify_key)
    assert verifier.accepts(base64.b64decode(answer.headers["x-artifact-signature"]), statement)
    token = {"authorization": f"Bearer {WORKER_TOKEN}"}
    assert api.http.get(url, params={"engine": "other"}, headers=token).status_code == 404
    assert api.http.get("/internal/artifacts/xyz", params={"engine": engine}, headers=token).status_code == 422
    for headers in ({}, creator.headers, {"authorization": "Bearer x"}, {"authorization": f"Bearer {WORKER_TOKEN}x"}):
        assert api.http.get(url, params={"engine": engine}, headers=headers).status_code == 401
    assert "/internal" not in api.http.get("/openapi.json").text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (wat(f'(import "env" "system" (func)) {SPELL}'), "env"),
        (wat('(memory (export "memory") i64 1) (func (export "_start"))'), "memory64"),
        (module()[:-3], "cut off"),
        (wat('(memory (export "memory") 9000) (func (export "_start"))'), "memory"),
        (wat('(memory (export "memory") 1)'), "_start"),
        (b"(module)", "text"),
        (b"\x7fELF" + bytes(99), "wasm32-wasip1"),
        (b"", "nothing"),
    ],
)
def test_a_bad_module_is_refused_with_what_is_wrong(api: Api, creator: Account, content: bytes, said: str) -> None:
    answer = publish(api, creator, content)
    assert answer.status_code == 422, answer.text
    body = answer.json()
    assert body["error"] == "bad_module"
    assert body["errors"][0]["location"].startswith("module")
    assert said in body["detail"]
    assert api.http.get(f"/v1/spells/{creator.handle}/words").status_code == 404


def test_more_memory_at_start_than_its_own_limit_is_refused(api: Api, creator: Account) -> None:
    content = wat('(memory (export "memory") 20) (func (export "_start"))')
    answer = publish_form(api, creator, content, b'{"limits": {"memory_bytes": 1048576}}')
    assert (answer.status_code, answer.json()["error"]) == (422, "bad_module")
    assert answer.json()["errors"][0]["location"] == "manifest.limits.memory_bytes"


REMOTE = {"$ref": "https://example.org/schema.json"}
DEEP: dict[str, Any] = {}
for _ in range(20):
    DEEP = {"items": DEEP}
DOUBLING = {
    "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)} | {"d30": {}},
    "$ref": "#/$defs/d0",
}


@pytest.mark.parametrize(
    ("manifest", "place", "said"),
    [
        (b"not json", "manifest", "malformed"),
        (b'{"colour": 1}', "manifest", "colour"),
        (b'{"limits": {"wall_ms": 300001}}', "limits.wall_ms", "300000"),
        (b'{"price_micros": 1.5}', "price_micros", "float"),
        (b'{"name": "other"}', "manifest.name", "'other'"),
        (b'{"version": "2.0.0"}', "manifest.version", "'2.0.0'"),
        (b'{"description": "\\u0000"}', "manifest", "NUL"),
        (b'{"description": "%s"}' % (b"x" * MANIFEST_BYTES_MAX), "manifest", "bytes"),
        ({"input_schema": REMOTE}, "input_schema", "outside"),
        ({"output_schema": {"properties": {"a": REMOTE}}}, "output_schema", "outside"),
        ({"input_schema": {"$ref": "#/$defs/missing"}}, "input_schema", "not in it"),
        ({"input_schema": {"items": {"$ref": "#"}}}, "input_schema", "itself"),
        ({"input_schema": DEEP}, "input_schema", "deeper"),
        ({"input_schema": DOUBLING}, "input_schema", "subschemas"),
        ({"input_schema": {"description": "x" * SCHEMA_BYTES_MAX}}, "input_schema", "bytes"),
        ({"input_schema": {"pattern": "(?=a)b"}}, "input_schema", "regex"),
        ({"input_schema": {"pattern": "((a{100}){100}){100}"}}, "input_schema", "regex"),
        ({"input_schema": {"type": "integr"}}, "input_schema", "integr"),
        ({"input_schema": {"$schema": "https://example.org/mine"}}, "input_schema", "dialect"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused_with_the_place(
    api: Api, creator: Account, manifest: bytes | dict[str, Any], place: str, said: str
) -> None:
    raw = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    answer = publish_form(api, creator, module(), raw)
    assert (answer.status_code, answer.json()["error"]) == (422, "validation"), answer.text
    fault = answer.json()["errors"][0]
    assert place in fault["location"]
    assert said in fault["message"]
    assert fault["fix"]


def test_too_large_is_said_before_the_body_is_read(api: Api, creator: Account) -> None:
    address = urlsplit(api.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(
            f"PUT /v1/spells/{creator.handle}/words/versions/1.0.0 HTTP/1.1\r\nhost: x\r\n"
            f"authorization: Bearer {creator.key}\r\ncontent-type: application/wasm\r\n"
            f"content-length: {MODULE_BYTES_MAX + 1}\r\n\r\n".encode()
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_too_large_is_said_when_the_length_was_not_announced(api: Api, creator: Account) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(MODULE_BYTES_MAX // MIB + 1):
            yield bytes(MIB)

    try:
        answer = api.http.put(
            f"/v1/spells/{creator.handle}/words/versions/1.0.0",
            content=pieces(),
            headers={**creator.headers, "content-type": "application/wasm"},
        )
    except httpx.WriteError:
        return  # the api hung up while we were still sending
    assert answer.status_code == 413


def test_an_account_that_sends_slowly_leaves_places_for_others(api: Api, rows: Rows, creator: Account) -> None:
    address = urlsplit(api.url)

    def begin() -> socket.socket:
        connection = socket.create_connection((address.hostname, address.port), timeout=60)
        connection.sendall(
            f"PUT /v1/spells/{creator.handle}/words/versions/1.0.0 HTTP/1.1\r\nhost: x\r\n"
            f"authorization: Bearer {creator.key}\r\ncontent-type: application/wasm\r\n"
            "content-length: 100\r\n\r\n".encode()
        )
        return connection

    with ExitStack() as stack:
        connections = [stack.enter_context(begin()) for _ in range(UPLOADS_PER_ACCOUNT_MAX + 3)]
        refused: set[socket.socket] = set()
        while len(refused) < 3:
            ready, _, _ = select.select([one for one in connections if one not in refused], [], [], 10)
            assert ready, "nobody was refused"
            for one in ready:
                assert one.recv(4096).startswith(b"HTTP/1.1 503 ")
            refused.update(ready)
        other = rows.account()
        rows.execute(
            "UPDATE api_keys SET scopes = scopes || '{spells:write}'::text[] WHERE id = %(id)s", {"id": other.key_id}
        )
        assert publish(api, other, module(7)).status_code == 201
    for _ in range(100):
        answer = publish(api, creator, module(8))
        if answer.status_code == 201:
            return
        assert answer.status_code == 503
    pytest.fail("the places of hung-up callers were not given back")


def test_a_form_takes_its_two_parts_and_no_other(api: Api, creator: Account) -> None:
    made = publish_form(api, creator, module(4, {"tags": ["embedded"]}), b'{"tags": ["beside"]}')
    assert (made.status_code, made.json()["manifest"]["tags"]) == (201, ["beside"])
    unknown = publish_form(api, creator, module(4), None, version="1.0.1", sbom=b"{}")
    assert (unknown.status_code, unknown.json()["error"]) == (422, "not_available")
    url = f"/v1/spells/{creator.handle}/words/versions/1.0.2"
    missing = api.http.put(url, files={"spell.json": ("spell.json", b"{}")}, headers=creator.headers)
    assert (missing.status_code, missing.json()["errors"][0]["location"]) == (422, "module")
    wrong_type = api.http.put(url, content=b"x", headers={**creator.headers, "content-type": "text/plain"})
    assert wrong_type.status_code == 415


def test_only_the_owner_with_the_scope_publishes_and_names_are_checked(api: Api, rows: Rows, creator: Account) -> None:
    stranger = rows.account()
    assert publish(api, stranger, module()).json()["error"] == "forbidden"
    rows.execute(
        "UPDATE api_keys SET scopes = scopes || '{spells:write}'::text[] WHERE id = %(id)s", {"id": stranger.key_id}
    )
    powerful = rows.key(stranger.id, stranger.handle)
    rows.execute(
        "UPDATE api_keys SET scopes = scopes || '{spells:write}'::text[] WHERE id = %(id)s", {"id": powerful.key_id}
    )
    assert publish(api, powerful, module(), owner=creator.handle).status_code == 403
    assert publish(api, creator, module(), version="1.0").json()["errors"][0]["location"] == "version"
    assert publish(api, creator, module(), version="1.0.0+build").status_code == 422
    assert publish(api, creator, module(), name="-words").json()["errors"][0]["location"] == "name"


def test_references_resolve_as_semver_says(api: Api, creator: Account) -> None:
    numbers = ("1.0.0", "1.2.0", "1.2.10", "1.2.9", "2.0.0-rc.1", "2.0.0", "3.0.0-alpha", "0.9.0")
    digests = {}
    for number, version in enumerate(numbers):
        made = publish(api, creator, module(100 + number), version=version)
        assert made.status_code == 201
        digests[version] = made.json()["digest"]
    base = f"/v1/spells/{creator.handle}/words/versions"

    def shown(selector: str) -> str:
        answer = api.http.get(f"{base}/{selector}")
        return answer.json()["version"] if answer.status_code == 200 else answer.json()["error"]

    expected = {
        "latest": "2.0.0",
        "1": "1.2.10",
        "1.2": "1.2.10",
        "1.0": "1.0.0",
        "1.1": "not_found",
        "2": "2.0.0",
        "3": "not_found",
        "3.0.0-alpha": "3.0.0-alpha",
        "2.0.0-rc.1": "2.0.0-rc.1",
        "0": "0.9.0",
        "1.2.9": "1.2.9",
        "9": "not_found",
        "01": "not_found",
        digests["1.2.9"]: "1.2.9",
        "sha256:" + "0" * 64: "not_found",
    }
    assert {selector: shown(selector) for selector in expected} == expected
    for _ in range(2):
        yanked = api.http.post(f"{base}/2.0.0/yank", headers=creator.headers)
        assert (yanked.status_code, yanked.json()["yanked"]) == (200, True)
    assert (shown("latest"), shown("2"), shown("2.0.0"), shown(digests["2.0.0"])) == (
        "1.2.10",
        "not_found",
        "2.0.0",
        "2.0.0",
    )
    assert api.http.post(f"{base}/7.0.0/yank", headers=creator.headers).status_code == 404
    assert len(api.http.get(base).json()["data"]) == len(numbers)
    assert api.http.delete(f"/v1/spells/{creator.handle}/words", headers=creator.headers).status_code == 204
    assert (shown("latest"), shown("1.0.0")) == ("not_found", "1.0.0")
    assert api.http.get(f"/v1/spells/{creator.handle}/words").json()["latest"] is None


def test_spells_are_made_changed_hidden_and_found(api: Api, rows: Rows, creator: Account) -> None:
    headers = {**creator.headers, "idempotency-key": "s1"}
    body = {"name": "finder", "description": "Finds needles"}
    made = api.http.post("/v1/spells", json=body, headers=headers)
    again = api.http.post("/v1/spells", json=body, headers=headers)
    assert (made.status_code, again.status_code) == (201, 201)
    assert again.json() == made.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert api.http.post("/v1/spells", json=body, headers=creator.headers).status_code == 409
    content = module(50, {"tags": ["search"]})
    assert publish(api, creator, content, name="finder").status_code == 201

    def found(**query: str) -> list[str]:
        listed = api.http.get("/v1/spells", params=query).json()["data"]
        return [spell["name"] for spell in listed if spell["owner"] == creator.handle]

    assert found(q="NEEDLES") == found(tag="search") == found(q=creator.handle) == ["finder"]
    assert found(tag="other") == found(q="haystack%") == []
    url = f"/v1/spells/{creator.handle}/finder"

    def change(**fields: str) -> httpx.Response:
        return api.http.patch(url, json=fields, headers=creator.headers)

    assert change(visibility="unlisted", description="Hidden").json()["description"] == "Hidden"
    assert found() == []
    assert api.http.get(url).status_code == 200
    assert change(visibility="private").status_code == 200
    assert api.http.get(url).status_code == 404
    assert api.http.get(f"{url}/versions").status_code == 404
    stranger = rows.account()
    assert api.http.get(url, headers=stranger.headers).status_code == 404
    reference = f"{creator.handle}/finder"
    assert api.http.post("/v1/casts", json={"spell": reference}, headers=stranger.headers).status_code == 404
    assert api.http.get(url, headers=creator.headers).status_code == 200
    assert change(visibility="secret").status_code == 422
    rows.execute(
        "UPDATE api_keys SET scopes = scopes || '{spells:write}'::text[] WHERE id = %(id)s", {"id": stranger.key_id}
    )
    assert api.http.patch(url, json={}, headers=rows.key(stranger.id, stranger.handle).headers).status_code == 403


def test_the_document_says_what_publishing_takes_and_answers(api: Api) -> None:
    document = api.http.get("/openapi.json").json()
    operation = document["paths"]["/v1/spells/{owner}/{name}/versions/{version}"]["put"]
    assert set(operation["requestBody"]["content"]) == {"application/wasm", "multipart/form-data"}
    assert {"200", "201"} <= set(operation["responses"])


def test_text_that_postgres_cannot_hold_is_refused_not_an_error(api: Api, creator: Account) -> None:
    assert api.http.get("/v1/spells?q=%00").status_code == 422
    assert api.http.get("/v1/spells/%00/x").status_code == 404
    assert publish(api, creator, module(), name="%00").status_code == 422
    for path in ("%00/versions/1.0.0", "words/versions/%00"):
        yanked = api.http.post(f"/v1/spells/{creator.handle}/{path}/yank", headers=creator.headers)
        assert yanked.status_code == 404
    assert api.http.delete(f"/v1/spells/{creator.handle}/%00", headers=creator.headers).status_code == 404
