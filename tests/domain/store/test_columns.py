"""Rows as columns come out of `unnest` as they went in, whatever is in them and missing from them."""

from datetime import date
from uuid import UUID

import msgspec
import pytest
from psycopg.errors import NumericValueOutOfRange

from domain.store.columns import bigints, columns_of, numbered
from domain.store.connection import Pool, statement
from domain.store.exchange import exchange, value

QUERY = b"""
SELECT json_agg(json_build_array(id, other, number, so, word, note, day, ids::uuid[], numbers::bigint[],
  size, encode(data, 'base64')))::text
FROM unnest(%(rows.id)b::uuid[], %(rows.other)b::uuid[], %(rows.number)b::bigint[], %(rows.so)b::boolean[],
  %(rows.word)b::text[], %(rows.note)b::text[], %(rows.day)b::date[], %(rows.ids)b::text[], %(rows.numbers)b::text[],
  %(rows.size)b::bigint[], %(rows.data)b::bytea[]
) AS r(id, other, number, so, word, note, day, ids, numbers, size, data)
"""


class Line(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A field of every kind there is."""

    id: UUID = UUID(int=1)
    other: UUID | None = None
    number: int = 7
    so: bool = True
    word: str = "a"
    note: str | None = None
    day: date = date(2026, 3, 1)
    ids: tuple[UUID, ...] = ()
    numbers: tuple[int, ...] = ()
    size: int | None = None
    data: bytes | None = None


ONE = UUID(int=2**128 - 1)
MANY = [
    Line(),
    Line(
        id=ONE,
        other=UUID(int=2),
        number=-(2**63),
        so=False,
        word="",
        note="ü\n\\\"'{}",
        day=date(1999, 12, 31),
        size=-1,
    ),
    Line(id=UUID(int=0), other=ONE, number=2**63 - 1, word="NULL", ids=(ONE,), numbers=(-1, 2**63 - 1), data=b"\0"),
    Line(note="NULL", day=date(9999, 12, 31), ids=(UUID(int=3), ONE), numbers=(0,), size=0, data=b""),
    Line(),
]


@pytest.mark.parametrize(
    "lines",
    [MANY, MANY[:1], MANY[1:2], MANY[2:3], [MANY[1]] * 3, [MANY[2]] * 3, MANY[1:], MANY[::-1]],
    ids=["all", "mostly none", "some", "arrays", "alike", "alike with arrays", "last is none", "backwards"],
)
async def test_rows_come_out_as_they_went_in(pool: Pool, lines: list[Line]) -> None:
    async with statement(pool) as connection:
        (found,) = await exchange(connection, (QUERY, columns_of(lines)))
    assert msgspec.json.decode(value(found), type=list[Line]) == lines


@pytest.mark.parametrize("numbers", [[2**63], [0, -(2**63) - 1], [None, 2**63]], ids=["alike", "many", "not all"])
def test_a_number_that_is_no_bigint_is_refused_as_postgres_refuses_it(numbers: list[int | None]) -> None:
    with pytest.raises(NumericValueOutOfRange):
        bigints(numbers)


def test_so_is_one_of_a_lone_row() -> None:
    with pytest.raises(NumericValueOutOfRange):
        columns_of([Line(number=2**63)])


def test_a_lone_row_is_written_as_one_of_many_alike() -> None:
    for line in MANY:
        lone, twice = columns_of([line]), columns_of([line, line])
        assert lone.keys() == twice.keys()
        for place, text in lone.items():
            element = text[20:]
            assert twice[place] == text[:12] + (2).to_bytes(4, "big") + text[16:20] + element + element


async def test_no_numbers_are_an_array_too(pool: Pool) -> None:
    async with statement(pool) as connection:
        (found,) = await exchange(
            connection, (b"SELECT cardinality(%(none)b::bigint[])::text::bytea", {"none": bigints([])})
        )
    assert value(found) == b"0"


def test_rows_are_numbered_by_what_is_in_them() -> None:
    first, second, third = Line(number=1), Line(number=2), Line(number=1, note="else")
    rows = [first, first, second, Line(number=1), third, third, second]
    assert numbered(rows) == ([first, second, third], [1, 1, 2, 1, 3, 3, 2])
    assert numbered([]) == ([], [])
