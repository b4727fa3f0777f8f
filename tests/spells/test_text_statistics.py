"""What counts as a word, a sentence, a line; and what happens to input that is no text."""

from collections.abc import Callable

import msgspec
import pytest

from .conftest import Cast

SPELL = "text-statistics"
COUNTS = ("characters", "words", "unique_words", "sentences", "paragraphs", "lines")


def counts(cast: Cast, data: bytes) -> tuple[int, ...]:
    ending = cast(SPELL, data)
    assert ending.exit_code == 0, ending.log
    statistics = msgspec.json.decode(ending.output, type=dict[str, object])
    return tuple(int(str(statistics[name])) for name in COUNTS)


def top(cast: Cast, data: bytes) -> list[tuple[str, int]]:
    statistics = msgspec.json.decode(cast(SPELL, data).output, type=dict[str, object])
    rows = msgspec.convert(statistics["top_words"], list[dict[str, str | int]])
    return [(str(row["word"]), int(row["count"])) for row in rows]


def test_the_sample_gives_the_recorded_statistics(cast: Cast, sample: Callable[[str], bytes]) -> None:
    ending = cast(SPELL, sample("lighthouse.txt"))
    assert ending.output == sample("lighthouse.json")


def test_the_sample_agrees_with_python(cast: Cast, sample: Callable[[str], bytes]) -> None:
    text = sample("lighthouse.txt").decode()
    characters, _, _, _, paragraphs, lines = counts(cast, text.encode())
    assert characters == len(text)
    assert lines == len(text.splitlines())
    assert paragraphs == len([part for part in text.split("\n\n") if part.strip()])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, 0, 0, 0, 0, 0)),
        ("one", (3, 1, 1, 1, 1, 1)),
        ("a A á Á", (7, 4, 2, 1, 1, 1)),
        ("don't don\u2019t", (11, 2, 1, 1, 1, 1)),
        ("'quoted' - well-known -", (23, 2, 2, 1, 1, 1)),
        ("3.14 1,000 a.b", (14, 4, 4, 1, 1, 1)),
        ("One. Two! Three? Four\u2026 Five", (27, 5, 5, 5, 1, 1)),
        ('"Really?" he said.', (18, 3, 3, 2, 1, 1)),
        ("...!", (4, 0, 0, 0, 0, 1)),
        ("a\r\nb\rc\nd", (8, 4, 4, 1, 1, 4)),
        ("Title\n\nText.\n \t\nEnd\n", (20, 3, 3, 3, 3, 5)),
        ("日本語。中", (5, 4, 4, 2, 1, 1)),
        ("a\0b", (3, 2, 2, 1, 1, 1)),
        ("e\u0301 é", (4, 2, 2, 1, 1, 1)),
        ("\U0001f600 \U0001f600", (3, 0, 0, 0, 0, 1)),
    ],
)
def test_counts(cast: Cast, text: str, expected: tuple[int, ...]) -> None:
    assert counts(cast, text.encode()) == expected
    assert counts(cast, msgspec.json.encode(text)) == expected
    assert counts(cast, msgspec.json.encode({"text": text})) == expected


def test_a_byte_order_mark_is_no_character(cast: Cast) -> None:
    assert counts(cast, b"\xef\xbb\xbfone") == counts(cast, b"one")


def test_options(cast: Cast) -> None:
    given = {"text": "b a b c a b", "top_words": 2, "words_per_minute": 60}
    ending = cast(SPELL, msgspec.json.encode(given))
    assert b'"reading_seconds":6,' in ending.output
    assert top(cast, msgspec.json.encode(given)) == [("b", 3), ("a", 2)]


def test_top_words_match_a_full_sort_of_many_words(cast: Cast) -> None:
    words = [f"w{number * number % 7919}" for number in range(9000)]
    expected = sorted({word: words.count(word) for word in set(words)}.items(), key=lambda row: (-row[1], row[0]))
    assert top(cast, msgspec.json.encode({"text": " ".join(words), "top_words": 100})) == expected[:100]


def test_a_huge_line_stays_within_the_default_limits(cast: Cast) -> None:
    ending = cast(SPELL, b"x" * 1024 * 1024)
    assert b'"words":1,' in ending.output
    assert top(cast, b"x" * 1024 * 1024) == [("x" * 200 + "\u2026", 1)]


def test_a_mebibyte_of_different_words_stays_within_the_default_limits(cast: Cast) -> None:
    text = " ".join(f"{number:x}" for number in range(180_000))[: 1024 * 1024]
    assert f'"unique_words":{len(set(text.split()))},' in cast(SPELL, text.encode()).output.decode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"abc\xff", "not UTF-8: bad byte at offset 3"),
        (b"\xc0\xaf", "not UTF-8: bad byte at offset 0"),
        (b"\xed\xa0\x80", "not UTF-8: bad byte at offset 0"),
        (b"\xf4\x90\x80\x80", "not UTF-8: bad byte at offset 0"),
        (b"\xe2\x82", "not UTF-8: bad byte at offset 0"),
        (b'"\\ud800"', "half of a surrogate pair"),
        (b'{"text": "a", "top": 1}', "a field this spell does not know: top"),
        (b'{"top_words": 1}', "must hold the text in this field: text"),
        (b'{"text": 5}', "must be a JSON string: text"),
        (b'{"text": "a", "top_words": 101}', "whole number within its range (see the input schema): top_words"),
        (b'{"text": "a", "top_words": 99999999999999999999}', "top_words"),
        (b'{"text": "a", "top_words": 1.5}', "top_words"),
        (b'{"text": "a", "words_per_minute": 0}', "words_per_minute"),
    ],
)
def test_bad_input_is_explained(cast: Cast, data: bytes, message: str) -> None:
    ending = cast(SPELL, data)
    assert (ending.exit_code, ending.output) == (1, b"")
    assert message in ending.log


@pytest.mark.parametrize("data", [b'{"text": "a"', b"{}x", b'"a" b', b"[1]", b"{" * 5000, b'"\\x"'])
def test_what_is_not_one_json_document_is_plain_text(cast: Cast, data: bytes) -> None:
    assert counts(cast, data)[0] == len(data)


@pytest.mark.parametrize("escaped", ['"\\u0041\\n\\"\\\\\\/\\b\\f\\r\\t\\ud83d\\ude00\\u00e9"', '  "x y"  \n'])
def test_json_escapes_are_decoded(cast: Cast, escaped: str) -> None:
    assert counts(cast, escaped.encode())[0] == len(msgspec.json.decode(escaped, type=str))
