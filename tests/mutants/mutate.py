"""Small mistakes in SQL, one at a time: what a tired person might write instead. Pure.

The queries are taken apart as text, for ours are few and of one style; a mistake that is no SQL any more is refused by
Postgres itself and does not count.
"""

import re
from collections.abc import Iterator

import msgspec

_FLIPPED = {"<=": "<", ">=": ">", "<": "<=", ">": ">=", "=": "<>", "<>": "="}
_COMPARISON = re.compile(r"(?<![<>=!:\-])(<=|>=|<>|<|>|=)(?![<>=])")
_ARITHMETIC = re.compile(r"(?<= )[+-](?= )")
_CONDITION = re.compile(r"\b(WHERE|AND|ON(?! CONFLICT))\s")
# The AND that follows belongs to it.
_BETWEEN = re.compile(r"\bBETWEEN\s+\S+\s+$")
_CONDITION_ENDS = ("AND", "OR", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "FOR NO KEY", "RETURNING", "ON CONFLICT")
_CONDITION_ENDS += ("LEFT JOIN", "JOIN", "CROSS JOIN", "UNION", "THEN", "DO UPDATE", "DO NOTHING")
_ORDER_ENDS = ("LIMIT", "FOR NO KEY", "ON CONFLICT", "RETURNING")
_SET_ENDS = ("FROM", "WHERE", "RETURNING")
_DROPPED = re.compile(r"\b(FOR NO KEY UPDATE SKIP LOCKED|FOR NO KEY UPDATE|SKIP LOCKED|NOT(?= [a-z(]))")
_ONE_OF_TWO = re.compile(r"IN \(('\w+'), ('\w+')\)")
_ASSIGNMENT = re.compile(r"\s*(\w+|\([\w, ]+\))\s*=")


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    """One query with one mistake in it."""

    module: str
    query: str
    kind: str
    old: str
    new: str
    number: int
    """Which of the places with this text it is, from 1."""
    text: str

    @property
    def name(self) -> str:
        """Say what was done where, in words that an edit elsewhere does not change."""
        place = f" #{self.number}" if self.number > 1 else ""
        return f"{self.module}.{self.query}: {self.kind} `{self.old}`{f' to `{self.new}`' if self.new else ''}{place}"


def mutants(module: str, query: str, text: str) -> list[Mutant]:
    """Return every mutant of one query, in order of place."""
    code = re.sub(r"(?m)^--.*\n?", "", text)
    found: list[Mutant] = []
    seen: dict[tuple[str, str, str], int] = {}
    for kind, begin, end, new in sorted(_edits(code), key=lambda edit: (edit[1], edit[0])):
        old = " ".join(code[begin:end].split())
        number = seen[kind, old, new] = seen.get((kind, old, new), 0) + 1
        changed = f"{code[:begin]}{new}{code[end:]}"
        found.append(
            Mutant(module=module, query=query, kind=kind, old=old, new=new.strip(), number=number, text=changed.strip())
        )
    return found


def _edits(code: str) -> Iterator[tuple[str, int, int, str]]:
    """Yield (kind, begin, end, new text)."""
    for match in _COMPARISON.finditer(code):
        yield "flip", match.start(), match.end(), _FLIPPED[match[1]]
    for match in _ARITHMETIC.finditer(code):
        yield "sign", match.start(), match.end(), "-" if match[0] == "+" else "+"
    for match in (found for found in _CONDITION.finditer(code) if not _BETWEEN.search(code, 0, found.start())):
        yield "condition", match.end(), _until(code, match.end(), _CONDITION_ENDS), "true "
    for match in _DROPPED.finditer(code):
        yield "drop", match.start(), match.end(), ""
    for match in re.finditer(r"\bORDER BY ", code):
        yield "drop", match.start(), _until(code, match.end(), _ORDER_ENDS), ""
    for match in re.finditer(r"\bLIMIT ", code):
        yield "drop", match.start(), _until(code, match.end(), ("FOR NO KEY",)), ""
    for match in re.finditer(r"\bON CONFLICT\b", code):
        yield "drop", match.start(), _until(code, match.end(), ("RETURNING",)), ""
    for match in re.finditer(r"\bDO UPDATE SET\b", code):
        yield "ignore", match.start(), _until(code, match.end(), ("RETURNING",)), "DO NOTHING"
    for match in _ONE_OF_TWO.finditer(code):
        yield "one of two", match.start(), match.end(), f"IN ({match[1]})"
        yield "one of two", match.start(), match.end(), f"IN ({match[2]})"
    yield from _forgotten(code)


def _forgotten(code: str) -> Iterator[tuple[str, int, int, str]]:
    """Leave out one assignment of an UPDATE that has several."""
    for match in re.finditer(r"\bSET\b", code):
        end = _until(code, match.end(), _SET_ENDS)
        parts = list(_parts(code, match.end(), end))
        if len(parts) < 2:
            continue
        for index, (begin, stop) in enumerate(parts):
            if _ASSIGNMENT.match(code, begin, stop):
                # With the comma after it, or before it where it is the last.
                yield ("forget", begin, stop + 1, "") if index + 1 < len(parts) else ("forget", begin - 1, stop, "")


def _parts(code: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield what stands between the commas that are in no parentheses."""
    depth, start = 0, begin
    for place in range(begin, end):
        depth += {"(": 1, ")": -1}.get(code[place], 0)
        if code[place] == "," and depth == 0:
            yield start, place
            start = place + 1
    yield start, end


def _until(code: str, begin: int, words: tuple[str, ...]) -> int:
    """Return where the first of `words` stands outside parentheses, or the parenthesis around `begin` closes."""
    depth = 0
    inside_case = 0
    for place in range(begin, len(code)):
        rest = code[place:]
        depth += {"(": 1, ")": -1}.get(code[place], 0)
        if depth < 0:
            return place
        if depth == 0 and (place == 0 or not code[place - 1].isalnum()):
            inside_case += rest.startswith("CASE ") - rest.startswith("END")
            ends = inside_case <= 0 and any(re.match(rf"{word}\b", rest) for word in words)
            if ends and not _BETWEEN.search(code, begin, place):
                return place
    return len(code)
