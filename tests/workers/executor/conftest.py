"""Modules written as text, compiled once, and one jailed child for all tests that do not break it."""

import hashlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import wasmtime

from domain.model.artifacts import artifact_file_name, artifact_statement, signature_file_name
from domain.model.limits import CastLimits
from gateways.signing import Signer, generate_key_pair
from workers.executor.engine import engine_key, make_engine
from workers.executor.parent import Executor, ExecutorConfig
from workers.executor.protocol import ExecuteRequest, ExecuteResult, JailMode

IMPORTS = """
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
"""


def program(body: str, *, before: str = "", imports: str = IMPORTS) -> bytes:
    """A command whose `_start` is the body; at 0 lies an iovec of 8 bytes at 64."""
    text = f"""(module {imports}
      (memory (export "memory") 1)
      (data (i32.const 0) "\\40\\00\\00\\00\\08\\00\\00\\00")
      {before}
      (func (export "_start") (local $i i32) {body}))"""
    return bytes(wasmtime.wat2wasm(text))


class Library:
    """A signed artifact folder, as a worker's cache leaves it."""

    def __init__(self, folder: Path) -> None:
        keys = generate_key_pair()
        self.folder = folder
        self.verify_key = keys.verify_key
        self.signer = Signer(keys.signing_key)
        self._engine = make_engine()
        self.key = engine_key(self._engine)

    def publish(self, module: bytes) -> bytes:
        digest = hashlib.sha256(module).digest()
        artifact = bytes(wasmtime.Module(self._engine, module).serialize())
        self.put(digest, artifact)
        return digest

    def put(self, digest: bytes, artifact: bytes, signer: Signer | None = None) -> None:
        statement = artifact_statement(
            digest=digest, engine_key=self.key, artifact_sha256=hashlib.sha256(artifact).digest()
        )
        self.signature(digest).write_bytes((signer or self.signer).sign(statement))
        self.artifact(digest).write_bytes(artifact)

    def artifact(self, digest: bytes) -> Path:
        return self.folder / artifact_file_name(digest, self.key)

    def signature(self, digest: bytes) -> Path:
        return self.folder / signature_file_name(digest, self.key)

    def config(self, jail: JailMode = JailMode.REQUIRED) -> ExecutorConfig:
        return ExecutorConfig(artifact_folder=self.folder, verify_key=self.verify_key, jail=jail)


def request(digest: bytes, guest_input: bytes = b"", **limits: int) -> ExecuteRequest:
    return ExecuteRequest(cast_id=uuid.uuid4(), digest=digest, limits=CastLimits(**limits), input=guest_input)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("artifacts")
    # pytest's folders are closed to other users; the child enters this one before it becomes another user.
    folder.chmod(0o755)
    return Library(folder)


@pytest.fixture(scope="session")
def library_arguments(library: Library) -> tuple[str, str]:
    return str(library.folder), library.verify_key


@pytest.fixture(scope="session")
def make_program() -> Callable[..., bytes]:
    return program


@pytest.fixture(scope="session")
def make_request() -> Callable[..., ExecuteRequest]:
    return request


@pytest.fixture(scope="session")
def shared_executor(library: Library) -> Iterator[Executor]:
    executor = Executor(library.config())
    executor.start()
    yield executor
    executor.close()


@pytest.fixture
def executor(library: Library) -> Iterator[Executor]:
    """A child of its own, for a test that breaks it."""
    executor = Executor(library.config())
    yield executor
    executor.close()


@pytest.fixture(scope="session")
def cast(library: Library, shared_executor: Executor) -> Callable[..., ExecuteResult]:
    """Publish a module and cast it in the shared child."""

    def run(module: bytes, guest_input: bytes = b"", **limits: int) -> ExecuteResult:
        return shared_executor.run(request(library.publish(module), guest_input, **limits))

    return run
