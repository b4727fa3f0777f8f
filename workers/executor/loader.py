"""Loads artifacts: the platform's signature first, the machine code only then, the latest few kept."""

import hashlib
import os
from collections import OrderedDict
from pathlib import Path
from typing import Final

import wasmtime

from domain.model.artifacts import artifact_file_name, artifact_statement, signature_file_name
from domain.model.limits import MIB
from gateways.signing import Verifier
from workers.executor.sandbox import Loaded, Sandbox

# A worker sees a few hot modules at a time; loading another costs a millisecond or two.
LOADED_COUNT_MAX: Final = 64
# Machine code is mapped from the file and shared between children, so this bounds address space more than memory.
LOADED_BYTES_MAX: Final = 512 * MIB

_SIGNATURE_BYTES: Final = 64
_PIECE_BYTES: Final = 1 * MIB


class ArtifactError(Exception):
    """The artifact is absent, not signed by the platform, or not loadable; the message says which."""


def _read_open(name: str) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        message = f"the worker has no compiled module {name} ({error.strerror})"
        raise ArtifactError(message) from error


class Loader:
    """Finds artifacts by digest in the current directory and keeps the latest ones loaded.

    File names are relative, so that the folder's parents need not be open to the jailed user. The folder is written by
    the worker alone, by renaming whole files into place; nothing in the jail can write anywhere.
    """

    def __init__(self, sandbox: Sandbox, verifier: Verifier) -> None:
        """Begin with nothing loaded."""
        self._sandbox: Final = sandbox
        self._verifier: Final = verifier
        self._loaded: Final[OrderedDict[bytes, tuple[Loaded, int]]] = OrderedDict()
        self._bytes = 0

    def get(self, digest: bytes) -> Loaded:
        """Return the module, loading it when it is not among the latest; ArtifactError when that cannot be."""
        known = self._loaded.get(digest)
        if known is not None:
            self._loaded.move_to_end(digest)
            return known[0]
        loaded, size = self._load(digest)
        self._loaded[digest] = (loaded, size)
        self._bytes += size
        while len(self._loaded) > LOADED_COUNT_MAX or (self._bytes > LOADED_BYTES_MAX and len(self._loaded) > 1):
            _, (_, dropped_bytes) = self._loaded.popitem(last=False)
            self._bytes -= dropped_bytes
        return loaded

    def _load(self, digest: bytes) -> tuple[Loaded, int]:
        name = artifact_file_name(digest, self._sandbox.key)
        signature = self._read_signature(digest)
        file = _read_open(name)
        try:
            size = self._verify(file, name, digest, signature)
            loaded = self._sandbox.load(name, digest)
            # The engine opens by name, so make sure that nobody put another file there meanwhile.
            if not os.path.samestat(os.fstat(file), Path(name).lstat()):
                message = f"the compiled module {name} was replaced while it was loaded"
                raise ArtifactError(message)
        except wasmtime.WasmtimeError as error:
            message = f"the compiled module {name} does not fit this engine: {error}"
            raise ArtifactError(message) from error
        finally:
            os.close(file)
        return loaded, size

    def _verify(self, file: int, name: str, digest: bytes, signature: bytes) -> int:
        """Check the signature over the whole file and return its size."""
        sha256, size = hashlib.sha256(), 0
        while piece := os.read(file, _PIECE_BYTES):
            sha256.update(piece)
            size += len(piece)
        statement = artifact_statement(digest=digest, engine_key=self._sandbox.key, artifact_sha256=sha256.digest())
        if not self._verifier.accepts(signature, statement):
            message = f"the compiled module {name} does not carry the platform's signature"
            raise ArtifactError(message)
        return size

    def _read_signature(self, digest: bytes) -> bytes:
        file = _read_open(signature_file_name(digest, self._sandbox.key))
        try:
            return os.read(file, _SIGNATURE_BYTES + 1)
        finally:
            os.close(file)
