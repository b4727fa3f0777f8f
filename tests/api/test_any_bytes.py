"""Whatever is sent, no answer is a 5xx, and the process lives."""

import random

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.platform import Account, Api, Rows

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
FIELDS = [
    "input",
    "input_base64",
    "limits",
    "deadline_ms",
    "pool",
    "max_price_micros",
    "webhook_url",
    "metadata",
    "oops",
]
CALM = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def caller(rows: Rows) -> Account:
    return rows.account(rpm=10_000_000)


@pytest.fixture(scope="module")
def spell(rows: Rows, caller: Account) -> str:
    return rows.spell(caller, "echo")


@CALM
@given(path=st.sampled_from(["/v1/cast", "/v1/casts", "/v1/casts/batch"]), content=st.binary(max_size=300))
def test_any_bytes_as_a_body(api: Api, caller: Account, path: str, content: bytes) -> None:
    answer = api.http.post(path, content=content, headers={**caller.headers, "content-type": "application/json"})
    assert answer.status_code in {400, 422}, answer.text


@CALM
@given(fields=st.dictionaries(st.sampled_from(FIELDS), JSON), batch=st.booleans())
def test_any_json_in_any_field(api: Api, caller: Account, spell: str, fields: dict[str, object], batch: bool) -> None:  # noqa: FBT001  # Hypothesis passes it by name
    body = {**fields, "spell": spell}
    path = "/v1/casts/batch" if batch else "/v1/casts"
    content = msgspec.json.encode({"casts": [body]} if batch else body)
    answer = api.http.post(path, content=content, headers={**caller.headers, "content-type": "application/json"})
    assert answer.status_code in {200, 202, 400, 422}, answer.text


@CALM
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]),
    path=st.sampled_from(
        ["/v1/casts", "/v1/casts/x", "/v1/casts/0199f0a0-0000-7000-8000-000000000000/log", "/v1", "/"]
    ),
    query=st.text(alphabet=st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=40),
    header=st.sampled_from(["prefer", "idempotency-key", "traceparent", "x-request-id", "x-forwarded-for", "cookie"]),
    value=st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=300),
)
def test_any_address_and_header(
    api: Api, caller: Account, method: str, path: str, query: str, header: str, value: str
) -> None:
    answer = api.http.request(
        method, httpx.URL(path, query=query.replace("#", "%23").encode()), headers={**caller.headers, header: value}
    )
    assert answer.status_code < 500, answer.text


def test_mutations_of_a_good_request(api: Api, caller: Account, spell: str) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    good = msgspec.json.encode(
        {"spell": spell, "input": {"a": [1, "x"]}, "metadata": {"k": "v"}, "limits": {"fuel": 9}}
    )
    for _ in range(300):
        mutated = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        answer = api.http.post(
            "/v1/casts", content=bytes(mutated), headers={**caller.headers, "content-type": "application/json"}
        )
        assert answer.status_code in {202, 400, 404, 422}, (seed, bytes(mutated), answer.text)
