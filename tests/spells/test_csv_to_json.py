"""CSV as RFC 4180 has it, and a message with the line for everything else."""

import csv
import io
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Cast

SPELL = "csv-to-json"


def convert(cast: Cast, text: str | bytes, **options: object) -> object:
    data = msgspec.json.encode({"csv": text, **options}) if isinstance(text, str) else text
    ending = cast(SPELL, data)
    assert ending.exit_code == 0, ending.log
    return msgspec.json.decode(ending.output)


def test_the_sample_gives_the_recorded_json(cast: Cast, sample: Callable[[str], bytes]) -> None:
    assert cast(SPELL, sample("orders.csv")).output == sample("orders.json")


def test_the_sample_agrees_with_python(cast: Cast, sample: Callable[[str], bytes]) -> None:
    text = sample("orders.csv").decode()
    assert convert(cast, text.encode()) == list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n\n", []),
        ("a,b", []),
        ("a,b\n1,2", [{"a": "1", "b": "2"}]),
        ("a,b\r\n1,2\r\n", [{"a": "1", "b": "2"}]),
        ("a\r1\r\r2", [{"a": "1"}, {"a": "2"}]),
        ('a\n"x ""y"", z"', [{"a": 'x "y", z'}]),
        ('a,b\n"1\r\n2",', [{"a": "1\r\n2", "b": ""}]),
        ('"a","b"\n"",""', [{"a": "", "b": ""}]),
        (",x\n1,2", [{"column_1": "1", "x": "2"}]),
        ("a\n\0\n", [{"a": "\0"}]),
        ("a\n \u00e9\U0001f600 ", [{"a": " \u00e9\U0001f600 "}]),
    ],
)
def test_records(cast: Cast, text: str, expected: object) -> None:
    assert convert(cast, text) == expected
    assert convert(cast, text.encode()) == expected


def test_options(cast: Cast) -> None:
    assert convert(cast, "a;b\n1;2", delimiter=";") == [{"a": "1", "b": "2"}]
    assert convert(cast, "a\tb\n1", delimiter="\t", header=False) == [["a", "b"], ["1"]]


def test_types_are_inferred_only_when_nothing_is_lost(cast: Cast) -> None:
    text = '1,-2.50,0,-0,007,1e5,1.,.5,,true,false,TRUE,"7",123456789012345,1234567890123456,NaN'
    values = [1, -2.5, 0, "-0", "007", "1e5", "1.", ".5", None, True, False, "TRUE", "7", 123456789012345]
    expected = [[*values, "1234567890123456", "NaN"]]
    assert convert(cast, text, header=False, infer_types=True) == expected
    assert b"-2.50" in cast(SPELL, msgspec.json.encode({"csv": text, "header": False, "infer_types": True})).output


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,b\n1\n", "more or fewer fields than the header, on line 2"),
        (b'a\n"1\n2"\n3,4\n', "more or fewer fields than the header, on line 4"),
        (b'a\n"x', "never closed; it opens on line 2"),
        (b'a\n"x"y', "follows a closing quote (write a quote inside a field twice), on line 2"),
        (b'a\nx"y', "inside an unquoted field (quote the whole field), on line 2"),
        (b"a,b,a\n", "two columns have the same name: a"),
        (b",column_1\n", "two columns have the same name: column_1"),
        (b"," * 2000, "too many fields, on line 1"),
        (b"a\n\xff", "not UTF-8: bad byte at offset 2"),
        (b'{"csv": "a", "delimiter": ""}', "delimiter must be one ASCII character"),
        (b'{"csv": "a", "delimiter": "\\""}', "delimiter must be one ASCII character"),
        (b'{"csv": "a", "header": 1}', "must be true or false: header"),
    ],
)
def test_bad_input_is_explained(cast: Cast, data: bytes, message: str) -> None:
    ending = cast(SPELL, data)
    assert (ending.exit_code, ending.output) == (1, b"")
    assert message in ending.log


def test_a_huge_line_stays_within_the_default_limits(cast: Cast) -> None:
    assert convert(cast, b"a\n" + b"x" * 1_000_000) == [{"a": "x" * 1_000_000}]


def test_two_thousand_columns_stay_within_the_default_limits(cast: Cast) -> None:
    names = ",".join(f"column with a long shared beginning {number:04}" for number in range(2000))
    assert convert(cast, f"{names}\n{names}".encode()) == [{name: name for name in names.split(",")}]


fields = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(st.lists(fields, min_size=2, max_size=4), max_size=5))
def test_whatever_python_writes_comes_back(cast: Cast, records: list[list[str]]) -> None:
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows(records)
    assert convert(cast, written.getvalue(), header=False) == records
