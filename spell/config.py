"""`config.toml`: which platforms this user knows, and the key for each. Keys of the environment win over the file's.

The file lies in the XDG folder of the user and only they can read it. What is written here is all its
content, so it is rewritten whole.
"""

import json
import os
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from spell.exits import EXIT_USAGE, CommandError

URL_VARIABLE: Final = "SPELL_URL"
KEY_VARIABLE: Final = "SPELL_API_KEY"
FILE_NAME: Final = "config.toml"


class Server(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of one platform."""

    key: str
    account: str = ""
    """Whose key it is, as far as the platform told."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file: the platform that is used when nothing names one, and each by its URL."""

    default: str = ""
    servers: dict[str, Server] = msgspec.field(default_factory=dict[str, Server])


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the file is, there or not."""
    folder = environ.get("XDG_CONFIG_HOME") or ""
    # The XDG rules say that a relative path is to be ignored.
    base = Path(folder) if Path(folder).is_absolute() else Path("~/.config").expanduser()
    return base / "spell" / FILE_NAME


def read_config(path: Path) -> Config:
    """Return what the file says, the empty one when there is none. Raises CommandError when it cannot be used."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Config)
    except FileNotFoundError:
        return Config()
    except (OSError, ValueError) as error:  # unreadable, not TOML, not UTF-8, or of another shape
        message = f"{path} cannot be used ({error}): mend it, or delete it and run `spell login` again"
        raise CommandError(message, exit_code=EXIT_USAGE) from error


def write_config(path: Path, config: Config) -> None:
    """Replace the file at once, readable by its owner alone. Raises CommandError."""
    lines = [f"default = {_quoted(config.default)}"]
    for url, server in sorted(config.servers.items()):
        lines += ["", f"[servers.{_quoted(url)}]", f"key = {_quoted(server.key)}"]
        lines += [f"account = {_quoted(server.account)}"] if server.account else []
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp makes it 0600 from the start: the key is at no moment readable by others.
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{FILE_NAME}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        Path(partial).replace(path)
    except OSError as error:
        message = f"{path} cannot be written ({error.strerror}): use {URL_VARIABLE} and {KEY_VARIABLE} instead"
        raise CommandError(message) from error


def _quoted(text: str) -> str:
    # A JSON string without non-ASCII escapes is a TOML basic string, but for DEL, which neither a URL nor a key has.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
