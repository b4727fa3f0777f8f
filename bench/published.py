"""Modules as a worker's cache holds them: compiled by the program that compiles at publish, signed, in a folder."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.ours import ROOT, WORK_FOLDER, BenchError
from domain.model.artifacts import artifact_file_name, artifact_statement, signature_file_name
from gateways.compiler import CompileError, Compiler
from gateways.signing import Signer, generate_key_pair


class Library:
    """An artifact folder and the key its signatures verify with."""

    def __init__(self, folder: Path) -> None:
        keys = generate_key_pair()
        self.folder: Final = folder
        self.verify_key: Final = keys.verify_key
        self._signer: Final = Signer(keys.signing_key)

    def publish(self, module: bytes) -> bytes:
        """Compile and sign `module` as publishing does; return its digest. Raises BenchError."""
        compiled = asyncio.run(Compiler().compile(module))
        if isinstance(compiled, CompileError):
            raise BenchError(compiled.message)
        digest, engine_key = compiled.digest, compiled.engine_key
        statement = artifact_statement(digest=digest, engine_key=engine_key, artifact_sha256=compiled.artifact_sha256)
        (self.folder / signature_file_name(digest, engine_key)).write_bytes(self._signer.sign(statement))
        (self.folder / artifact_file_name(digest, engine_key)).write_bytes(compiled.artifact)
        return digest


@contextmanager
def open_library() -> Generator[Library]:
    """A library that is gone when the context closes."""
    WORK_FOLDER.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=WORK_FOLDER) as folder:
        # The jailed child is another user when we are root.
        Path(folder).chmod(0o755)
        yield Library(Path(folder))


def built(spell: str) -> bytes:
    """Return the module of an example spell, as it is in the repository."""
    return (ROOT / "spells" / "built" / f"{spell}.wasm").read_bytes()
