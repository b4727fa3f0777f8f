import json
import time

import msgspec
import pytest

from domain.model.errors import Code, RefusedError
from domain.model.limits import (
    DEFAULT_POOL_MEMORY_BYTES_MAX,
    DEFAULT_POOL_WALL_MS_MAX,
    INPUT_BYTES_DEFAULT,
    LIMITS_MAX,
    CastLimits,
)
from domain.model.manifest import (
    MANIFEST_BYTES_MAX,
    LimitsAsked,
    check_place,
    choose_limits,
    input_bytes_max,
    limits_default,
    limits_max,
    manifest_text,
    parse_manifest,
    pool_of,
)
from domain.model.messages import Pool
from domain.model.schema import PATTERN_WORK, SCHEMA_BYTES_MAX, SCHEMA_DEPTH_MAX, WORK_MAX, schema_faults, work_of


def test_a_stored_manifest_reads_back_equal() -> None:
    raw = json.dumps({"input_schema": {"type": "object"}, "limits": {"fuel": 7}, "tags": ["a"], "price_micros": 3})
    text = manifest_text(parse_manifest(raw.encode()))
    assert manifest_text(parse_manifest(text.encode())) == text
    assert json.loads(text) == json.loads(raw)
    assert manifest_text(parse_manifest(b"{}")) == "{}"


def test_a_stated_limit_is_default_and_bound_an_unstated_one_the_platforms() -> None:
    manifest = parse_manifest(b'{"limits": {"fuel": 5, "memory_bytes": 536870912, "input_bytes": 9}}')
    assert limits_default(manifest) == CastLimits(fuel=5, memory_bytes=536_870_912)
    assert limits_max(manifest) == msgspec.structs.replace(LIMITS_MAX, fuel=5)
    assert input_bytes_max(manifest) == 9
    plain = parse_manifest(b"{}")
    assert (limits_default(plain), limits_max(plain), input_bytes_max(plain)) == (
        CastLimits(),
        LIMITS_MAX,
        INPUT_BYTES_DEFAULT,
    )


def test_a_caller_chooses_inside_the_creators_bounds() -> None:
    bound = CastLimits(fuel=100, wall_ms=50)
    assert choose_limits(LimitsAsked(fuel=99), default=bound, maximum=bound) == CastLimits(fuel=99, wall_ms=50)
    with pytest.raises(RefusedError) as caught:
        choose_limits(LimitsAsked(fuel=101, wall_ms=51), default=bound, maximum=bound)
    assert caught.value.refusal.code is Code.VALIDATION
    assert [fault.location for fault in caught.value.refusal.faults] == ["limits.fuel", "limits.wall_ms"]


@pytest.mark.parametrize(
    ("limits", "pool"),
    [
        (CastLimits(), Pool.DEFAULT),
        (CastLimits(memory_bytes=DEFAULT_POOL_MEMORY_BYTES_MAX, wall_ms=DEFAULT_POOL_WALL_MS_MAX), Pool.DEFAULT),
        (CastLimits(memory_bytes=DEFAULT_POOL_MEMORY_BYTES_MAX + 1), Pool.LARGE),
        (CastLimits(wall_ms=DEFAULT_POOL_WALL_MS_MAX + 1), Pool.LARGE),
    ],
)
def test_the_pool_follows_from_the_limits(limits: CastLimits, pool: Pool) -> None:
    assert pool_of(limits) is pool


def test_a_manifest_is_published_as_what_it_says() -> None:
    manifest = parse_manifest(b'{"name": "a", "version": "1.0.0"}')
    check_place(manifest, name="a", version="1.0.0")
    with pytest.raises(RefusedError) as caught:
        check_place(manifest, name="b", version="1.0.1")
    assert [fault.location for fault in caught.value.refusal.faults] == ["manifest.name", "manifest.version"]


def test_a_detailed_schema_takes_shorter_inputs() -> None:
    schema = {"properties": {f"p{n}": {} for n in range(399)}}
    detailed = parse_manifest(json.dumps({"input_schema": schema}).encode())
    assert input_bytes_max(detailed) == 250_000
    fits = {"input_schema": schema, "limits": {"input_bytes": 250_000}}
    assert input_bytes_max(parse_manifest(json.dumps(fits).encode())) == 250_000
    fits["limits"] = {"input_bytes": 250_001}
    with pytest.raises(RefusedError) as caught:
        parse_manifest(json.dumps(fits).encode())
    assert caught.value.refusal.faults[0].location == "limits.input_bytes"
    assert work_of(b'{"pattern": "a", "patternProperties": {"b": {}}}') == 2 + 2 * PATTERN_WORK
    plain = parse_manifest(b'{"input_schema": true, "limits": {"input_bytes": 8388608}}')
    assert input_bytes_max(plain) == 8 * 1024 * 1024


def said(schema: object) -> str | None:
    faults = schema_faults(json.dumps(schema).encode(), "input_schema")
    return faults[0].message if faults else None


def nested(depth: int) -> object:
    schema: object = True
    for _ in range(depth):
        schema = {"not": schema}
    return schema


def test_schemas_that_stay_cheap_pass() -> None:
    for schema in (
        True,
        False,
        {},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"},
        {"$defs": {"name": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/name"}}},
        {"$defs": {"a/b~c": {}}, "$ref": "#/$defs/a~1b~0c"},
        {"prefixItems": [{}, {"$ref": "#/prefixItems/0"}]},
        {"properties": {"$ref": {"type": "string"}, "$id": {}}},
        {"enum": [{"$ref": "http://example.org"}]},
        nested(SCHEMA_DEPTH_MAX),
        {"anyOf": [{}] * (WORK_MAX - 1)},
        {"properties": {f"p{n}": {"pattern": "a"} for n in range(20)}},
    ):
        assert said(schema) is None, schema


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ({"description": "x" * SCHEMA_BYTES_MAX}, "bytes"),
        ([], "neither an object"),
        ("text", "neither an object"),
        (nested(SCHEMA_DEPTH_MAX + 1), "deeper"),
        ({"$ref": "http://example.org/s"}, "outside"),
        ({"$ref": "other.json#/a"}, "outside"),
        ({"$ref": 5}, "outside"),
        ({"$ref": "#/nowhere"}, "not in it"),
        ({"$ref": "#anchor"}, "itself"),
        ({"prefixItems": [{"$ref": "#/prefixItems/9"}]}, "not in it"),
        ({"items": {"$ref": "#"}}, "itself"),
        ({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}, "itself"),
        ({"$id": "https://example.org/x"}, "$id"),
        ({"items": {"$dynamicRef": "#x"}}, "$dynamicRef"),
        ({"anyOf": [{}] * WORK_MAX}, "subschemas"),
        ({"items": {"enum": list(range(WORK_MAX))}}, "subschemas"),
        ({"properties": {f"p{n}": {"pattern": "a"} for n in range(25)}}, "patterns"),
        ({"patternProperties": {f"p{n}": {} for n in range(25)}}, "patterns"),
        ({"$schema": 3}, "dialect"),
    ],
)
def test_schemas_that_could_stall_are_refused(schema: object, what: str) -> None:
    message = said(schema)
    assert message is not None
    assert what in message


def test_judging_a_schema_that_doubles_takes_no_longer_than_reading_it() -> None:
    definitions: dict[str, object] = {"d30": {}}
    definitions |= {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 40} for n in range(30)}
    began = time.process_time()
    message = said({"$defs": definitions, "$ref": "#/$defs/d0"})
    assert message is not None
    assert "subschemas" in message
    assert time.process_time() - began < 5  # written out it would outlast the universe


@pytest.mark.parametrize("first", ["d0", "d200"])
def test_a_long_chain_of_references_is_refused_from_wherever_it_is_entered(first: str) -> None:
    chain = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(400)} | {"d400": {}}
    short = {"anyOf": [{"$ref": f"#/$defs/d{n}"} for n in range(395, 300, -1)]}
    for schema in ({"$defs": chain, "$ref": f"#/$defs/{first}"}, {"$defs": chain, **short}):
        message = said(schema)
        assert message is not None
        assert "deeper" in message


def test_a_schema_that_is_no_json_or_too_deep_to_read_is_refused() -> None:
    assert schema_faults(b"{", "s")[0].location == "s"
    assert schema_faults(b"[" * 5_000 + b"]" * 5_000, "s")


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b"{", "manifest"),
        (b"[" * 5_000, "manifest"),
        (b'{"description": "\xff"}', "manifest"),
        (b'{"colour": 1}', "manifest"),
        (b'{"limits": {"fuel": 0}}', "manifest.limits.fuel"),
        (b'{"tags": ["UP"]}', "manifest.tags"),
        (b'{"description": "\\u0000"}', "manifest"),
        (b'{"input_schema": {"const": "a\\\\\\u0000"}}', "manifest"),
        (b'{"input_schema": {"const": "\\ud800"}}', "manifest"),
        (b'{"input_schema": {"const": 1e400000}}', "input_schema"),
        (b'{"input_schema": {"$ref": "http://x"}}', "input_schema"),
        (b'{"output_schema": []}', "output_schema"),
        (b'{"description": "' + b"x" * MANIFEST_BYTES_MAX + b'"}', "manifest"),
    ],
)
def test_what_is_wrong_with_a_manifest_has_a_place(raw: bytes, place: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_manifest(raw)
    assert caught.value.refusal.code is Code.VALIDATION
    assert caught.value.refusal.faults[0].location.startswith(place)


def test_an_escaped_backslash_is_no_nul() -> None:
    assert parse_manifest(b'{"description": "\\\\u0000"}').description == "\\u0000"
