"""Rows on their way to `unnest`: every field an array, as Postgres keeps it.

`json_to_recordset` makes a hash table for each row, and reads an id as sixteen numbers: a sixth of what a batch of
casts costs Postgres, and more than these arrays cost the client above JSON (docs/decisions/0002).
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from psycopg.errors import NumericValueOutOfRange

Row = TypeVar("Row", bound=msgspec.Struct)
Encode = Callable[[Sequence[Any]], bytes]
"""Makes an array of values, all of one type, of which there is at least one."""

_HEAD: Final = struct.Struct("!iiIii").pack
_HEAD_OF_NONE: Final = struct.pack("!iiI", 0, 0, 20)
_LENGTH: Final = struct.Struct("!i").pack
_BIGINT: Final = struct.Struct("!iq").pack
_encode_json: Final = msgspec.json.Encoder().encode
_NONE: Final = _LENGTH(-1)
_UUID_LENGTH: Final = _LENGTH(16)
_TRUE: Final = _LENGTH(1) + b"\1"
_FALSE: Final = _LENGTH(1) + b"\0"
_BOOLEAN_OID: Final = 16
_BYTEA_OID: Final = 17
_BIGINT_OID: Final = 20
_TEXT_OID: Final = 25
_DATE_OID: Final = 1082
_UUID_OID: Final = 2950
_DAY_ZERO: Final = date(2000, 1, 1).toordinal()


def columns_of(rows: Sequence[msgspec.Struct], name: str = "rows") -> dict[str, bytes]:
    """Return the fields of rows of one type, under the names that queries know them by: `rows.id` and so on."""
    if len(rows) == 1:
        values = zip(_places_alone(type(rows[0]), name), msgspec.structs.astuple(rows[0]), strict=True)
        return {place: encode(value) for (place, encode), value in values}
    columns = zip(*map(msgspec.structs.astuple, rows), strict=True)
    places = _places(type(rows[0]), name)
    return {place: encode(column) for (place, encode), column in zip(places, columns, strict=True)}


def written_in_columns(rows: Mapping[str, Sequence[msgspec.Struct]]) -> dict[str, bytes | int]:
    """Return what a statement of `queries.together` is sent with: the rows of each query with some, and how many."""
    sent: dict[str, bytes | int] = {}
    for name, some in rows.items():
        if some:
            sent.update(columns_of(some, name))
            sent[f"{name}_rows"] = len(some)
    return sent


def numbered(rows: Sequence[Row]) -> tuple[list[Row], list[int]]:
    """Return the different ones of frozen rows of one type, and for each row the number of its like, from 1."""
    different: list[Row] = []
    known: dict[tuple[object, ...], int] = {}
    numbers: list[int] = []
    last: tuple[object, ...] | None = None
    number = 0
    for row in rows:
        values = msgspec.structs.astuple(row)
        # Most are like the one before them, and equal values are mostly the same: compared sooner than hashed.
        if values != last:
            number = known.setdefault(values, len(known) + 1)
            if number > len(different):
                different.append(row)
            last = values
        numbers.append(number)
    return different, numbers


@cache
def _places(row_type: type[msgspec.Struct], name: str) -> list[tuple[str, Encode]]:
    return [(f"{name}.{field.name}", _ENCODERS[field.type]) for field in msgspec.structs.fields(row_type)]


@cache
def _places_alone(row_type: type[msgspec.Struct], name: str) -> list[tuple[str, Callable[[Any], bytes]]]:
    return [(place, _ALONE[encode]) for place, encode in _places(row_type, name)]


def _alone(oid: int, element: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Return what makes an array of one value, in a third of the time: at rest there is one row of everything."""
    head = _HEAD(1, 0, oid, 1, 1)
    none = _HEAD(1, 1, oid, 1, 1) + _NONE

    def encode(value: object) -> bytes:
        return none if value is None else head + element(value)

    return encode


def _array(oid: int, elements: Sequence[bytes], *, has_none: bool = False) -> bytes:
    return _array_of(oid, len(elements), b"".join(elements), has_none=has_none)


def _array_of(oid: int, count: int, elements: bytes, *, has_none: bool = False) -> bytes:
    return _HEAD(1, has_none, oid, count, 1) + elements


def _element(text: bytes) -> bytes:
    return _LENGTH(len(text)) + text


def _is_one(values: Sequence[object]) -> bool:
    """Tell whether all values are equal: of most columns they are, and one is written down faster than many."""
    return values[0] == values[-1] and values.count(values[0]) == len(values)


def uuids(values: Sequence[UUID | None]) -> bytes:
    """Return an array of ids."""
    # By their numbers: two ids are compared in Python.
    numbers = [None if value is None else value.int for value in values]
    if _is_one(numbers):
        return _array(_UUID_OID, [_uuid(numbers[0])] * len(numbers), has_none=numbers[0] is None)
    return _array(_UUID_OID, [_uuid(number) for number in numbers], has_none=None in numbers)


def _ids(values: Sequence[UUID]) -> bytes:
    """Return an array of ids of which none is missing, in half the time."""
    numbers = [value.int for value in values]
    if _is_one(numbers):
        return _array(_UUID_OID, [_uuid(numbers[0])] * len(numbers))
    texts = [number.to_bytes(16, "big") for number in numbers]
    return _array_of(_UUID_OID, len(texts), _UUID_LENGTH + _UUID_LENGTH.join(texts))


def _uuid(number: int | None) -> bytes:
    return _NONE if number is None else _UUID_LENGTH + number.to_bytes(16, "big")


def bigints(values: Sequence[int | None]) -> bytes:
    """Return an array of numbers, of which there may be none. Raises what Postgres would of one that is too large."""
    if not values:
        return _HEAD_OF_NONE
    try:
        if _is_one(values):
            return _array(_BIGINT_OID, [_bigint(values[0])] * len(values), has_none=values[0] is None)
        if None in values:
            return _array(_BIGINT_OID, [_bigint(value) for value in values], has_none=True)
        elements: list[Any] = [8, None] * len(values)
        elements[1::2] = values
        return _array_of(_BIGINT_OID, len(values), struct.pack("!" + "iq" * len(values), *elements))
    except struct.error as error:
        raise NumericValueOutOfRange(str(error)) from error


def _bigint(value: int | None) -> bytes:
    return _NONE if value is None else _BIGINT(8, value)


def _number(value: int) -> bytes:
    try:
        return _BIGINT(8, value)
    except struct.error as error:
        raise NumericValueOutOfRange(str(error)) from error


def _booleans(values: Sequence[bool]) -> bytes:
    return _array(_BOOLEAN_OID, [_TRUE if value else _FALSE for value in values])


def texts(values: Sequence[str | None]) -> bytes:
    """Return an array of texts."""
    if _is_one(values):
        return _array(_TEXT_OID, [_text(values[0])] * len(values), has_none=values[0] is None)
    return _array(_TEXT_OID, [_text(value) for value in values], has_none=None in values)


def _text(value: str | None) -> bytes:
    return _NONE if value is None else _element(value.encode())


def byte_strings(values: Sequence[bytes | None]) -> bytes:
    """Return an array of bytea."""
    if _is_one(values):
        return _array(_BYTEA_OID, [_byte_string(values[0])] * len(values), has_none=values[0] is None)
    return _array(_BYTEA_OID, [_byte_string(value) for value in values], has_none=None in values)


def _byte_string(value: bytes | None) -> bytes:
    return _NONE if value is None else _element(value)


def _dates(values: Sequence[date]) -> bytes:
    if _is_one(values):
        return _array(_DATE_OID, [_date(values[0])] * len(values))
    return _array(_DATE_OID, [_date(value) for value in values])


def _date(value: date) -> bytes:
    return _element(_LENGTH(value.toordinal() - _DAY_ZERO))


def _literals(values: Sequence[tuple[UUID | int, ...]]) -> bytes:
    """Return arrays within the array as texts: an array of arrays of different lengths there is not."""
    if _is_one(values):
        return _array(_TEXT_OID, [_literal(values[0])] * len(values))
    return _array(_TEXT_OID, [_literal(value) for value in values])


def _literal(value: tuple[UUID | int, ...]) -> bytes:
    # What JSON has between its brackets is between braces what Postgres reads, quotes of ids included.
    return _element(b"{%b}" % _encode_json(value)[1:-1])


_ENCODERS: Final[Mapping[object, Encode]] = {
    UUID: _ids,
    UUID | None: uuids,
    int: bigints,
    int | None: bigints,
    bool: _booleans,
    str: texts,
    str | None: texts,
    bytes | None: byte_strings,
    date: _dates,
    tuple[UUID, ...]: _literals,
    tuple[int, ...]: _literals,
}
_ALONE: Final[Mapping[Encode, Callable[[Any], bytes]]] = {
    _ids: _alone(_UUID_OID, lambda value: _UUID_LENGTH + value.bytes),
    uuids: _alone(_UUID_OID, lambda value: _UUID_LENGTH + value.bytes),
    bigints: _alone(_BIGINT_OID, _number),
    _booleans: _alone(_BOOLEAN_OID, lambda value: _TRUE if value else _FALSE),
    texts: _alone(_TEXT_OID, _text),
    byte_strings: _alone(_BYTEA_OID, _byte_string),
    _dates: _alone(_DATE_OID, _date),
    _literals: _alone(_TEXT_OID, _literal),
}
