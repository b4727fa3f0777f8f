"""What a spell is given: text of the command line, a file, or standard input; as JSON or as bytes."""

import sys
from pathlib import Path
from typing import Final

import msgspec

from spell.exits import EXIT_USAGE, CommandError

# The platform takes no longer input; a larger file is a mistake that should not be read whole first.
INPUT_BYTES_MAX: Final = 8 * 1024 * 1024


class CastInput(msgspec.Struct, frozen=True, kw_only=True):
    """One input. `label` is what the command line called it."""

    label: str
    value: msgspec.Raw | bytes
    """JSON as it was written, or the bytes themselves."""

    @property
    def stdin(self) -> bytes:
        """What the spell reads."""
        return bytes(self.value)

    @property
    def is_json(self) -> bool:
        """Whether it travels as JSON, and so is checked against the spell's schema."""
        return isinstance(self.value, msgspec.Raw)


def read_input(text: str, *, raw: bool) -> CastInput:
    """Return the input that one argument means. Raises CommandError (usage).

    `@FILE` is what is in the file, `-` standard input: JSON when it is JSON, else bytes. Other text is JSON when it is
    JSON, else a JSON string. With `raw` all of them are bytes.
    """
    if text == "-":
        return _content("standard input", sys.stdin.buffer.read(INPUT_BYTES_MAX + 1), raw=raw)
    if text.startswith("@"):
        return _content(text, _read_file(Path(text[1:])), raw=raw)
    if raw:
        return CastInput(label=text, value=text.encode("utf-8", "surrogateescape"))
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        message = f"the input {text[:30]!r} is not UTF-8: send it with --raw, or from a file with @FILE"
        raise CommandError(message, exit_code=EXIT_USAGE) from error
    return CastInput(label=text, value=_as_json(encoded) or msgspec.Raw(msgspec.json.encode(text)))


def _content(label: str, content: bytes, *, raw: bool) -> CastInput:
    if len(content) > INPUT_BYTES_MAX:
        message = f"{label} has more than {INPUT_BYTES_MAX} bytes: no spell takes that much"
        raise CommandError(message, exit_code=EXIT_USAGE)
    return CastInput(label=label, value=content if raw else _as_json(content) or content)


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(INPUT_BYTES_MAX + 1)
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror}); @FILE is the content of a file"
        raise CommandError(message, exit_code=EXIT_USAGE) from error


def _as_json(content: bytes) -> msgspec.Raw | None:
    """Return the content when it is one JSON document, without the space around it."""
    try:
        content.decode("utf-8")  # strings inside are not looked at otherwise
        return msgspec.json.decode(content, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
