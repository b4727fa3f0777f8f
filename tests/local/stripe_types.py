"""What stripe-python's own types say of parameters and answers."""

import importlib
import typing
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, ForwardRef, Literal, NotRequired, Union, get_args, get_origin

import stripe
import stripe.billing_portal
import stripe.checkout
import stripe.params
from stripe._expandable_field import ExpandableField
from stripe._list_object import ListObject
from stripe._object_classes import get_object_class
from stripe._stripe_object import StripeObject, UntypedStripeObject

from local.stripe.shapes import Choice, Field, Leaf, ListOf, Shape


def wrong_parameters(shape: Shape) -> list[str]:
    """Return the parameters of a shape that the type of the same name does not have, or has otherwise."""
    kind: Any = stripe.params
    for part in shape.name.split("."):
        kind = getattr(kind, part)
    fields = dict(shape.fields)
    wrong = [f"{shape.name}: {name} is required there" for name in required_of(kind) if name not in shape.required]
    if shape.expands:
        fields["expand"] = ListOf(Leaf.TEXT)
    return wrong + [f"{shape.name}: {problem}" for problem in _compare_object(fields, kind)]


def required_of(kind: Any) -> set[str]:
    return {name for name, of in kind.__annotations__.items() if "NotRequired" not in str(of)}


def _compare_object(fields: Mapping[str, Field], kind: Any) -> Iterator[str]:
    known = kind.__annotations__
    for name, field in fields.items():
        if name not in known:
            yield f"{name} is unknown"
        else:
            options = list(_options(known[name], kind.__module__))
            yield from (f"{name}: {problem}" for problem in _compare(field, options, kind.__module__))


def _options(of: Any, module: str) -> Iterator[Any]:
    """Yield the types that a parameter may have."""
    if isinstance(of, str | ForwardRef):
        text = of if isinstance(of, str) else of.__forward_arg__
        space = {**vars(typing), **vars(importlib.import_module(module))}
        yield from _options(eval(text, space), module)  # noqa: S307  # the library's own annotations
    elif get_origin(of) in {NotRequired, Union, UnionType}:
        for option in get_args(of):
            yield from _options(option, module)
    else:
        yield of


def _compare(field: Field, options: list[Any], module: str) -> Iterator[str]:
    if isinstance(field, ListOf):
        items = [each for each in options if get_origin(each) is list]
        if not items:
            yield f"is no list but {options}"
            return
        inner = [option for each in items for option in _options(get_args(each)[0], module)]
        yield from _compare(field.of, inner, module)
    elif isinstance(field, Mapping):
        objects = [each for each in options if hasattr(each, "__total__")]
        if objects:
            yield from _compare_object(field, objects[0])
        else:
            yield f"is no object but {options}"
    elif isinstance(field, Choice):
        words = {word for each in options if get_origin(each) is Literal for word in get_args(each)}
        if words and not set(field.words) <= words:
            yield f"{set(field.words) - words} are none of the words"
        if not words and str not in options:
            yield f"is no word but {options}"
    else:
        yield from _compare_leaf(field, options)


def _compare_leaf(field: Leaf, options: list[Any]) -> Iterator[str]:
    names = {getattr(each, "__name__", str(each)) for each in options}
    match field:
        case Leaf.TEXT:
            fits = "str" in names
        case Leaf.INTEGER:
            fits = "int" in names
        case Leaf.BOOLEAN:
            fits = "bool" in names
        case Leaf.DECIMAL:
            fits = "Decimal" in names
        case Leaf.METADATA:
            fits = any(get_origin(each) is dict for each in options)
        case Leaf.RANGE:
            fits = "int" in names and any(hasattr(each, "__total__") for each in options)
    if not fits:
        yield f"is no {field.value} but {options}"


def wrong_fields(body: Mapping[str, Any]) -> list[str]:
    """Return what of an answer the resource classes do not know, or would miss."""
    kind = class_of(body)
    return [f"{body['object']}: {problem}" for problem in _compare_answer(body, kind)]


def class_of(body: Mapping[str, Any]) -> Any:
    if body["object"] == "item":
        return stripe.LineItem
    return ListObject if body["object"] == "list" else get_object_class("V1", body["object"])


def _compare_answer(body: Mapping[str, Any], kind: Any) -> Iterator[str]:
    known = kind.__annotations__
    if not issubclass(kind, ListObject) and not body.get("deleted"):
        for name, of in known.items():
            if name not in body and name != "OBJECT_NAME" and not _is_optional(of):
                yield f"{name} is missing"
    for name, value in body.items():
        if name not in known and not (issubclass(kind, ListObject) and name == "object"):
            yield f"{name} is unknown"
        else:
            yield from (f"{name}: {problem}" for problem in _compare_value(value, known.get(name, Any), kind))


def _is_optional(of: Any) -> bool:
    return "Optional" in str(of) or "None" in str(of)


def _answer_options(of: Any, kind: Any) -> Iterator[Any]:
    if isinstance(of, str | ForwardRef):
        text = of if isinstance(of, str) else of.__forward_arg__
        space = _Names({**vars(typing), **vars(importlib.import_module(kind.__module__)), **vars(kind)})
        yield from _answer_options(eval(text, {}, space), kind)  # noqa: S307  # the library's own annotations
    elif get_origin(of) in {Union, UnionType}:
        for option in get_args(of):
            yield from _answer_options(option, kind)
    else:
        yield of


class _Names(dict[str, Any]):
    """Names as a module of the library sees them while types are checked."""

    def __missing__(self, name: str) -> Any:
        own = {"ExpandableField": ExpandableField, "ListObject": ListObject}
        if name in own:
            return own[name]
        found = (getattr(space, name.removesuffix("Resource"), None) for space in (stripe, stripe.billing_portal))
        return next(filter(None, found), StripeObject)


def _compare_value(value: Any, of: Any, kind: Any) -> Iterator[str]:
    if isinstance(value, dict) and "object" in value and isinstance(value["object"], str):
        yield from _compare_answer(value, class_of(value))
    elif isinstance(value, dict):
        options = list(_answer_options(of, kind))
        classes = [each for each in options if isinstance(each, type) and issubclass(each, StripeObject)]
        if classes and not any(issubclass(each, UntypedStripeObject) for each in classes):
            yield from _compare_answer(value, classes[0])
        elif not any(get_origin(each) in {dict, UntypedStripeObject} or each in {Any, dict} for each in options):
            yield f"{sorted(value)} is no object but {of}"
    elif isinstance(value, list):
        inner = [get_args(each)[0] for each in _answer_options(of, kind) if get_origin(each) is list]
        for each in value:
            yield from _compare_value(each, inner[0] if inner else Any, kind)
    else:
        yield from _compare_single(value, of, kind)


def _compare_single(value: Any, of: Any, kind: Any) -> Iterator[str]:
    if value is None:
        if not _is_optional(of):
            yield "is null"
        return
    names = {getattr(each, "__name__", str(each)) for each in _answer_options(of, kind)}
    wanted = {bool: {"bool", "Literal"}, int: {"int"}, str: {"str", "Literal", "Decimal"}}[type(value)]
    if not names & (wanted | {"Any", "TypeVar", "T"}):
        yield f"{value!r} is no {' or '.join(sorted(names))}"


def is_expandable(kind: str, path: str) -> bool:
    """Tell whether a field holds an id that `expand` may replace."""
    owner: Any = class_of({"object": kind})
    *steps, last = path.split(".")
    for step in steps:
        options = list(_answer_options(owner.__annotations__[step], owner))
        inner = [get_args(each)[0] if get_origin(each) is list else each for each in options]
        owner = next(each for each in inner if isinstance(each, type) and issubclass(each, StripeObject))
    names = {getattr(each, "__name__", "") for each in _answer_options(owner.__annotations__[last], owner)}
    classes = [each for each in _answer_options(owner.__annotations__[last], owner) if hasattr(each, "OBJECT_NAME")]
    return "str" in names and bool(classes)
