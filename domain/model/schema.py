"""Bounds of a creator's JSON Schema, checked before it is compiled, so that checking an input stays linear in it.

Without them a schema stalls the api: references that double at each step are exponential in the schema, recursive
ones in the depth of the input, and each pattern costs memory for as long as the schema is cached.
"""

from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec

from domain.model.errors import Fault
from domain.model.limits import KIB

SCHEMA_BYTES_MAX: Final = 64 * KIB
SCHEMA_DEPTH_MAX: Final = 16
# The work for one value of the input at worst, with every reference written out: one for each subschema and each value
# of an enum, PATTERN_WORK for each pattern. The largest schema of the examples has 20.
WORK_MAX: Final = 10_000
# A pattern may cost 1.7 us for a character where a subschema costs 4 ns (measured at the size that is allowed).
PATTERN_WORK: Final = 400
# Work times bytes of input. 2,000 subschemas over 500,000 numbers, two bytes each, took 7.3 s (measured), so this much
# holds up the api's loop for 0.4 s at worst. Who has a detailed schema takes shorter inputs.
WORK_BYTES_MAX: Final = 100_000_000
# Levels after every reference is written out: the engine, and this file, go down them on the stack.
EXPANDED_DEPTH_MAX: Final = 64

_DIALECTS: Final = frozenset(
    {
        "https://json-schema.org/draft/2020-12/schema",
        "https://json-schema.org/draft/2019-09/schema",
        "http://json-schema.org/draft-07/schema",
    }
)
# Keywords whose value is one schema, a list of them, or a map to them. `$defs` counts only where it is referred to.
_ONE: Final = (
    "additionalProperties",
    "additionalItems",
    "contains",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
    "unevaluatedItems",
    "unevaluatedProperties",
    "items",
)
_LIST: Final = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_MAP: Final = ("properties", "patternProperties", "dependentSchemas", "dependencies")
# They move what a reference is relative to, or choose its target while checking: the bounds could not be told ahead.
_REFUSED: Final = ("$dynamicRef", "$recursiveRef", "$id", "$anchor", "$dynamicAnchor", "$vocabulary")


class _SchemaFault(Exception):  # noqa: N818  # a verdict between the functions of this file; it never leaves it
    def __init__(self, *, message: str, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


def schema_faults(raw: bytes, location: str) -> tuple[Fault, ...]:
    """Return what forbids the schema in `raw` (JSON), or nothing."""
    try:
        _check(raw)
    except _SchemaFault as fault:
        return (Fault(location=location, message=fault.message, fix=fault.fix),)
    return ()


def work_of(raw: bytes) -> int:
    """Return the work of a schema without faults for one value of the input; 1 at least."""
    schema: object = msgspec.json.decode(raw)
    return _Expansion(cast("dict[str, Any]", schema)).check() if isinstance(schema, dict) else 1


def _check(raw: bytes) -> None:
    if len(raw) > SCHEMA_BYTES_MAX:
        raise _SchemaFault(message=f"the schema has {len(raw)} bytes, more than {SCHEMA_BYTES_MAX}", fix="Shorten it.")
    try:
        schema: object = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _SchemaFault(message=f"the schema is not JSON: {error}", fix="Write a JSON Schema.") from error
    if not isinstance(schema, dict | bool):
        raise _SchemaFault(message="the schema is neither an object nor true or false", fix="Write a JSON Schema.")
    if _depth(cast("object", schema)) > SCHEMA_DEPTH_MAX:
        raise _SchemaFault(
            message=f"the schema is nested deeper than {SCHEMA_DEPTH_MAX}",
            fix="Move inner parts to $defs and refer to them.",
        )
    if isinstance(schema, dict):
        root = cast("dict[str, Any]", schema)
        dialect = root.get("$schema")
        if dialect is not None and (not isinstance(dialect, str) or dialect.rstrip("#") not in _DIALECTS):
            raise _SchemaFault(
                message="$schema names an unknown dialect", fix=f"Use one of {', '.join(sorted(_DIALECTS))}."
            )
        _Expansion(root).check()


def _depth(value: object) -> int:
    """Return how deep containers nest; msgspec's decoder has already refused what would overflow the stack."""
    deepest, level = 0, [value]
    while level:
        deepest += 1
        level = [child for parent in level for child in _children(parent)]
    return deepest - 1


def _children(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from cast("dict[str, object]", value).values()
    elif isinstance(value, list):
        yield from cast("list[object]", value)


class _Expansion:
    """Counts the work as if every reference were written out."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._known: dict[int, tuple[int, int]] = {}
        self._under_way: set[int] = set()

    def check(self) -> int:
        """Return the work for one value; raise where it is too much."""
        work, _ = self._measure(self._root)
        if work > WORK_MAX:
            raise _SchemaFault(
                message=f"with its references written out the schema has more than {WORK_MAX} subschemas,"
                f" values of enums and patterns, a pattern counting {PATTERN_WORK}",
                fix="Refer less, or make the schema less detailed.",
            )
        return work

    def _measure(self, schema: object) -> tuple[int, int]:
        """Return the work for one value that meets `schema`, and how many levels it has."""
        if not isinstance(schema, dict):
            return 1, 1
        key = id(cast("object", schema))
        if key in self._known:
            return self._known[key]
        if key in self._under_way:
            raise _SchemaFault(
                message="the schema refers to itself", fix="Write nested levels out as far as they are needed."
            )
        self._under_way.add(key)
        self._check_levels(len(self._under_way))
        node = cast("dict[str, Any]", schema)
        measured = [self._measure(part) for part in self._parts(node)]
        self._under_way.remove(key)
        levels = 1 + max((levels for _, levels in measured), default=0)
        self._check_levels(levels)
        self._known[key] = _own_work(node) + sum(work for work, _ in measured), levels
        return self._known[key]

    def _check_levels(self, levels: int) -> None:
        if levels > EXPANDED_DEPTH_MAX:
            raise _SchemaFault(
                message=f"with its references written out the schema is deeper than {EXPANDED_DEPTH_MAX}",
                fix="Refer less.",
            )

    def _parts(self, node: dict[str, Any]) -> Iterator[object]:
        for name in _REFUSED:
            if name in node:
                raise _SchemaFault(
                    message=f"the schema uses {name}", fix="Refer with $ref to #/$defs/... of the same schema."
                )
        if "$ref" in node:
            yield self._target(node["$ref"])
        yield from (node[name] for name in _ONE if name in node)
        for name in _LIST:
            if isinstance(node.get(name), list):
                yield from node[name]
        for name in _MAP:
            if isinstance(node.get(name), dict):
                yield from node[name].values()

    def _target(self, reference: object) -> object:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise _SchemaFault(
                message=f"the schema refers to {str(reference)[:100]!r}, which is outside of it",
                fix="Put the part into $defs and refer to #/$defs/....",
            )
        target: object = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and name.isdigit() and int(name) < len(cast("list[object]", target)):
                target = cast("list[object]", target)[int(name)]
            elif isinstance(target, dict) and name in target:
                target = cast("dict[str, object]", target)[name]
            else:
                raise _SchemaFault(
                    message=f"the schema refers to {reference[:100]!r}, which is not in it", fix="Define it there."
                )
        return target


def _own_work(node: dict[str, Any]) -> int:
    values, names = node.get("enum"), node.get("patternProperties")
    patterns = ("pattern" in node) + (len(cast("dict[str, Any]", names)) if isinstance(names, dict) else 0)
    return 1 + PATTERN_WORK * patterns + (len(cast("list[object]", values)) if isinstance(values, list) else 0)
