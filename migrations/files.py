"""Migration files: how they are found, read and judged before any of them is run.

A file is `NNNN_name.sql`: lines `-- up` and `-- down` head its two parts, and anything before `-- up` is comment.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

FOLDER: Final = Path(__file__).parent

_FILE_NAME: Final = re.compile(r"(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.sql")
_PART: Final = re.compile(r"^--[ \t]*(up|down)[ \t]*$", re.MULTILINE)

# What may hide a semicolon in SQL, and the semicolon itself. Standard-SQL function bodies (BEGIN ATOMIC) are not
# known here: their END looks like transaction control, so such a file is refused and never misread.
_TOKEN: Final = re.compile(
    r"""--[^\n]*                                  # comment to the end of the line
      | /\*.*?\*/                                 # comment between marks
      | (?<![A-Za-z0-9_])[eE]'(?:[^'\\]|\\.|'')*' # text with backslash escapes
      | '(?:[^']|'')*'                            # text
      | "(?:[^"]|"")*"                            # quoted name
      | (?<![A-Za-z0-9_])\$(?P<tag>[A-Za-z_0-9]*)\$.*?\$(?P=tag)\$  # dollar-quoted text, as in function bodies
      | ;""",
    re.VERBOSE | re.DOTALL,
)
_COMMENTS_AND_SPACE: Final = re.compile(r"(?:\s+|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
_REFUSED: Final = (
    (
        re.compile(r"(?:begin|start|commit|end|rollback|abort|savepoint|release|prepare)\b", re.IGNORECASE),
        "a file is one transaction already; take the transaction control out (and quote function bodies with $$)",
    ),
    (
        re.compile(r"copy\b", re.IGNORECASE),
        "there is no client to COPY from or to; write INSERT",
    ),
)


class MigrationError(Exception):
    """A migration cannot be read or applied; the message names the file and says what to do."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The SQL of one direction and where it stands in its file."""

    sql: str
    first_line: int
    """Line of the file, counted from 1, on which `sql` starts."""

    def line_at(self, offset: int) -> int:
        """Return the line of the file that holds the character at `offset` of `sql`."""
        return self.first_line + self.sql.count("\n", 0, offset)


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One numbered file, as read."""

    version: int
    file_name: str
    up: Part
    down: Part | None
    """None when the file has no statement to go back with."""
    checksum: str
    """SHA-256 of the file with line ends made equal, in hex."""


def read_folder(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """Return the migrations of `folder` in order. Raises MigrationError for a file that breaks the rules above."""
    migrations: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        migration = _read(path)
        if migrations and migrations[-1].version == migration.version:
            message = f"{migrations[-1].file_name} and {path.name} have the same number; give the newer one the next"
            raise MigrationError(message)
        migrations.append(migration)
    return tuple(migrations)


def statement_starts(sql: str) -> Iterator[int]:
    """Yield the offset at which each statement of `sql` starts, comments and white space skipped."""
    start = _skip_comments(sql, 0)
    for token in _TOKEN.finditer(sql):
        if token.group() == ";":
            if start < token.start():
                yield start
            start = _skip_comments(sql, token.end())
    if start < len(sql):
        yield start


def _read(path: Path) -> Migration:
    matched = _FILE_NAME.fullmatch(path.name)
    if matched is None:
        message = f"{path.name}: name it NNNN_what_it_does.sql, in lower case"
        raise MigrationError(message)
    try:
        text = path.read_bytes().decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        message = f"{path.name}: not UTF-8 at byte {error.start}; save it as UTF-8"
        raise MigrationError(message) from error
    heads = list(_PART.finditer(text))
    if [head.group(1) for head in heads] != ["up", "down"]:
        message = f"{path.name}: needs one line `-- up` and, after it, one line `-- down`"
        raise MigrationError(message)
    up = _part(path, text, heads[0].end(), heads[1].start())
    if up is None:
        message = f"{path.name}: there is no statement under `-- up`; write one or remove the file"
        raise MigrationError(message)
    return Migration(
        version=int(matched["version"]),
        file_name=path.name,
        up=up,
        down=_part(path, text, heads[1].end(), len(text)),
        checksum=hashlib.sha256(text.encode()).hexdigest(),
    )


def _part(path: Path, text: str, start: int, end: int) -> Part | None:
    part = Part(sql=text[start:end], first_line=1 + text.count("\n", 0, start))
    starts = list(statement_starts(part.sql))
    for offset in starts:
        for refused, reason in _REFUSED:
            if refused.match(part.sql, offset):
                message = f"{path.name}, line {part.line_at(offset)}: {reason}"
                raise MigrationError(message)
    return part if starts else None


def _skip_comments(sql: str, offset: int) -> int:
    matched = _COMMENTS_AND_SPACE.match(sql, offset)
    assert matched is not None, "a repetition that may be empty always matches"
    return matched.end()
