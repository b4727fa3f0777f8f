"""Which parameters a route takes, and what becomes of the text they arrive as.

A parameter that is not in the route's shape is refused: code that sends one would fail, or be misunderstood, elsewhere.
"""

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from local.stripe.errors import refuse, refuse_without

# A sanity limit of the API itself: lists inside parameters are short.
LIST_LENGTH_MAX: Final = 500
METADATA_KEYS_MAX: Final = 50
METADATA_KEY_LENGTH_MAX: Final = 40
METADATA_VALUE_LENGTH_MAX: Final = 500
_BRACKETS: Final = re.compile(r"\[([^\[\]]*)\]")
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_DECIMAL: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,12})?")
_RANGE: Final = frozenset({"gt", "gte", "lt", "lte"})

# Parameters are a tree of texts as they come, and a tree of values once they were checked.
Params = dict[str, Any]


class Leaf(Enum):
    """What a single parameter may be."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    DECIMAL = "decimal"
    METADATA = "metadata"
    RANGE = "range"


TEXT: Final = Leaf.TEXT
INTEGER: Final = Leaf.INTEGER
BOOLEAN: Final = Leaf.BOOLEAN
DECIMAL: Final = Leaf.DECIMAL
METADATA: Final = Leaf.METADATA
RANGE: Final = Leaf.RANGE


class Choice(NamedTuple):
    """One of a few words."""

    words: tuple[str, ...]


class ListOf(NamedTuple):
    """Any number of the same."""

    of: "Field"


Field = Leaf | Choice | ListOf | Mapping[str, "Field"]


class Shape(NamedTuple):
    """The parameters of one route."""

    name: str
    """The type in `stripe.params` that speaks of the same route."""
    fields: Mapping[str, Field]
    required: tuple[str, ...] = ()
    expands: bool = True


def one_of(*words: str) -> Choice:
    """Return a choice between words."""
    return Choice(words)


def plain(name: str) -> Shape:
    """Return the shape of a route that takes nothing but `expand`."""
    return Shape(name, {})


def listed(name: str, required: tuple[str, ...] = (), **filters: Field) -> Shape:
    """Return the shape of a list: its filters and the paging that every list has."""
    paging = {"limit": INTEGER, "starting_after": TEXT, "ending_before": TEXT}
    return Shape(name, {**paging, **filters}, required)


def parsed(text: str) -> Params:
    """Return a form as a tree: `a[b][0]=x` is {"a": {"b": {"0": "x"}}}."""
    tree: Params = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        head, _, rest = key.partition("[")
        steps = [head, *_BRACKETS.findall(f"[{rest}")] if rest else [head]
        node: Params = tree
        for step in steps[:-1]:
            name = step or str(len(node))
            if isinstance(node.get(name, ""), str):
                node[name] = {}
            node = node[name]
        node[steps[-1] or str(len(node))] = value
    return tree


def part(tree: Params, name: str) -> Params:
    """Return what stands under a name in a tree; an empty tree where nothing does."""
    return tree.get(name) or {}


def parts(tree: Params, name: str) -> list[Params]:
    """Return the trees in the list under a name; none where there is no list."""
    return tree.get(name) or []


def checked(shape: Shape, raw: Params) -> Params:
    """Return the values of a request's parameters. Raises StripeError for what is unknown, missing or malformed."""
    fields: Mapping[str, Field] = {"expand": ListOf(TEXT), **shape.fields} if shape.expands else shape.fields
    values = _object(fields, raw, "")
    for name in shape.required:
        if values.get(name) in (None, ""):
            if name in raw:
                message = f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a "
                refuse(
                    f"{message}parameter; however '{name}' cannot be unset. You should remove '{name}' from your "
                    "request or supply a non-empty value.",
                    code="parameter_invalid_empty",
                    param=name,
                )
            refuse_without(name)
    return values


def _object(fields: Mapping[str, Field], raw: Params, prefix: str) -> Params:
    values: Params = {}
    for name, value in raw.items():
        param = f"{prefix}[{name}]" if prefix else name
        field = fields.get(name)
        if field is None:
            refuse(f"Received unknown parameter: {param}", code="parameter_unknown", param=param)
        values[name] = _value(field, value, param)
    return values


def _value(field: Field, value: Any, param: str) -> Any:  # a text or a tree of texts becomes whatever the field says
    if isinstance(field, Mapping):
        return None if value == "" else _object(field, _tree(value, param, "object"), param)
    if isinstance(field, ListOf):
        items = _items({} if value == "" else _tree(value, param, "array"), param)
        return [_value(field.of, each, f"{param}[{place}]") for place, each in enumerate(items)]
    if field is METADATA:
        return None if value == "" else _metadata(_tree(value, param, "object"), param)
    if field is RANGE and not isinstance(value, str):
        return {name: _integer(each, f"{param}[{name}]") for name, each in _range(value, param).items()}
    if not isinstance(value, str):
        refuse("Invalid string: a hash or an array is not one", code="parameter_invalid_string", param=param)
    return _single(field, value, param)


def _tree(value: Any, param: str, kind: str) -> Params:  # a text or a tree of texts
    if isinstance(value, str):
        refuse(f"Invalid {kind}", code=f"parameter_invalid_{kind}", param=param)
    return value


def _single(field: Leaf | Choice, value: str, param: str) -> Any:  # as the field says
    if value == "":
        return None
    if isinstance(field, Choice):
        if value not in field.words:
            refuse(f"Invalid {param}: must be one of {', '.join(field.words)}", param=param)
        return value
    match field:
        case Leaf.INTEGER | Leaf.RANGE:
            return _integer(value, param)
        case Leaf.BOOLEAN:
            if value not in {"true", "false"}:
                refuse(f"Invalid boolean: {value}", param=param)
            return value == "true"
        case Leaf.DECIMAL:
            if _DECIMAL.fullmatch(value) is None:
                refuse(f"Invalid decimal: {value}", param=param)
            return value
        case _:
            return value


def _integer(value: Any, param: str) -> int:  # a text, or a tree that has no business here
    if not isinstance(value, str) or _INTEGER.fullmatch(value) is None:
        refuse(f"Invalid integer: {value}", code="parameter_invalid_integer", param=param)
    return int(value)


def _items(tree: Params, param: str) -> Sequence[Any]:  # of whatever the list holds
    if not all(key.isdecimal() for key in tree):
        refuse("Invalid array", code="parameter_invalid_array", param=param)
    if len(tree) > LIST_LENGTH_MAX:
        refuse(f"Array {param} exceeded maximum {LIST_LENGTH_MAX} allowed elements.", param=param)
    return [tree[key] for key in sorted(tree, key=int)]


def _range(tree: Params, param: str) -> Params:
    for name in tree:
        if name not in _RANGE:
            refuse(f"Received unknown parameter: {param}[{name}]", code="parameter_unknown", param=f"{param}[{name}]")
    return tree


def _metadata(tree: Params, param: str) -> dict[str, str]:
    if len(tree) > METADATA_KEYS_MAX:
        refuse(f"Metadata can have at most {METADATA_KEYS_MAX} keys", param=param)
    for key, text in tree.items():
        if not isinstance(text, str):
            refuse("Metadata must be a hash of texts", code="parameter_invalid_object", param=f"{param}[{key}]")
        if len(key) > METADATA_KEY_LENGTH_MAX or len(text) > METADATA_VALUE_LENGTH_MAX:
            message = (
                f"Metadata keys can be up to {METADATA_KEY_LENGTH_MAX} characters long, values up to "
                f"{METADATA_VALUE_LENGTH_MAX}"
            )
            refuse(message, param=f"{param}[{key}]")
    return tree
