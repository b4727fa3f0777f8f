"""The secrets of a data folder: made on first use, kept in one file that only its owner may read."""

import json
import secrets
from pathlib import Path
from typing import Final

import msgspec

from domain.environment import KEY_BYTES
from domain.model.api_key import ENTROPY_BYTES, mint
from gateways.signing import generate_key_pair
from local.folder import make_private_folder, write_private
from spell.cli import CommandError

DEV_KEY: Final = "DEV_API_KEY"
FREE_KEY: Final = "FREE_API_KEY"
# Each is a setting of some process, by its name in the environment, or one of the two keys above.
_MADE_BY: Final = {
    "CAST_TOKEN_KEY": lambda: secrets.token_hex(KEY_BYTES),
    "ARTIFACT_SIGNING_KEY": lambda: generate_key_pair().signing_key,
    "RECEIPT_SIGNING_KEY": lambda: generate_key_pair().signing_key,
    "WEBHOOK_SIGNING_KEY": lambda: secrets.token_hex(KEY_BYTES),
    "WORKER_TOKEN": lambda: secrets.token_urlsafe(KEY_BYTES),
    "ADMIN_SECRET": lambda: secrets.token_urlsafe(KEY_BYTES),
    DEV_KEY: lambda: mint(secrets.token_bytes(ENTROPY_BYTES)).text,
    FREE_KEY: lambda: mint(secrets.token_bytes(ENTROPY_BYTES)).text,
}

_decode: Final = msgspec.json.Decoder(dict[str, str]).decode


class DevSecrets:
    """The secrets of one data folder, by name."""

    def __init__(self, folder: Path) -> None:
        """Read what is kept in `folder` and make what is missing. Raises CommandError or LocalServerError."""
        make_private_folder(folder)
        self._file: Final = folder / "secrets.json"
        self._values: Final = {**self._read()}
        missing = {name: make() for name, make in _MADE_BY.items() if name not in self._values}
        if missing:
            self._values.update(missing)
            self._write()

    @property
    def settings(self) -> dict[str, str]:
        """What goes into the environment of processes."""
        return {name: value for name, value in self._values.items() if name not in {DEV_KEY, FREE_KEY}}

    def api_key(self, name: str) -> str:
        """Return the text of the key DEV_KEY or FREE_KEY."""
        return self._values[name]

    def replace_api_key(self, name: str) -> str:
        """Make another key, because the one kept was revoked or has expired."""
        self._values[name] = _MADE_BY[name]()
        self._write()
        return self._values[name]

    def _read(self) -> dict[str, str]:
        try:
            return _decode(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            message = f"{self._file} is damaged ({error}): restore it, or start on another folder with --data-dir"
            raise CommandError(message) from error

    def _write(self) -> None:
        write_private(self._file, json.dumps(self._values, indent=1) + "\n")
