"""The parent's side: children that die, lie, overrun, and are canceled; artifacts that are not the platform's."""

import hashlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from domain.model.limits import CastLimits
from domain.model.messages import Outcome
from gateways.signing import Signer, Verifier, generate_key_pair
from workers.executor import loader, parent, process
from workers.executor.loader import ArtifactError, Loader
from workers.executor.parent import Executor, ExecutorConfig, ExecutorStartError
from workers.executor.protocol import LENGTH_PREFIX, ExecuteRequest, ExecuteResult, JailMode
from workers.executor.sandbox import Sandbox

Request = Callable[..., ExecuteRequest]
Program = Callable[..., bytes]

FOREVER = "(loop $l (br $l))"


class Library(Protocol):
    folder: Path
    verify_key: str
    key: str

    def publish(self, module: bytes) -> bytes: ...
    def put(self, digest: bytes, artifact: bytes, signer: Signer | None = None) -> None: ...
    def artifact(self, digest: bytes) -> Path: ...
    def signature(self, digest: bytes) -> Path: ...
    def config(self, jail: JailMode = JailMode.REQUIRED) -> ExecutorConfig: ...


def after(seconds: float, action: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()


def test_a_killed_child_fails_its_cast_and_the_next_gets_another(
    executor: Executor, library: Library, make_program: Program, make_request: Request
) -> None:
    forever, nothing = library.publish(make_program(FOREVER)), library.publish(make_program(""))
    executor.start()
    first = executor.child_pid
    assert first is not None
    after(0.1, lambda: os.kill(first, signal.SIGABRT))
    result = executor.run(make_request(forever, fuel=10**12))
    assert result.outcome is Outcome.SANDBOX_CRASHED
    assert "SIGABRT" in result.message
    assert result.fuel is None
    assert executor.child_deaths == 1
    assert executor.run(make_request(nothing)).outcome is Outcome.SUCCEEDED
    assert executor.child_pid != first


def test_a_child_that_died_between_casts_costs_nobody_anything(
    executor: Executor, library: Library, make_program: Program, make_request: Request
) -> None:
    digest = library.publish(make_program(""))
    executor.start()
    assert executor.child_pid is not None
    os.kill(executor.child_pid, signal.SIGKILL)
    os.waitid(os.P_PID, executor.child_pid, os.WEXITED | os.WNOWAIT)
    assert executor.run(make_request(digest)).outcome is Outcome.SUCCEEDED
    assert executor.child_deaths == 0


def test_closing_ends_the_running_cast_and_starts_nothing_anew(
    library: Library, make_program: Program, make_request: Request
) -> None:
    executor = Executor(library.config())
    executor.start()
    after(0.1, executor.close)
    result = executor.run(make_request(library.publish(make_program(FOREVER)), fuel=10**12))
    assert result.outcome is Outcome.SANDBOX_CRASHED
    assert executor.child_pid is None
    assert executor.child_deaths == 0
    assert executor.run(make_request(bytes(32))).message == "the executor was closed"


def test_cancel_while_the_child_is_still_coming_up(executor: Executor, make_request: Request) -> None:
    request = make_request(bytes(32))
    after(0.02, lambda: executor.kill(request.cast_id))
    assert executor.run(request).outcome is Outcome.CANCELED


def test_cancel_ends_only_the_cast_it_names(
    executor: Executor, library: Library, make_program: Program, make_request: Request
) -> None:
    forever, nothing = library.publish(make_program(FOREVER)), library.publish(make_program(""))
    executor.start()
    wanted, other = make_request(forever, fuel=10**12), make_request(forever)
    answers: list[bool] = []
    after(0.1, lambda: answers.append(executor.kill(other.cast_id)))
    after(0.2, lambda: answers.append(executor.kill(wanted.cast_id)))
    started = time.monotonic()
    result = executor.run(wanted)
    assert (result.outcome, result.fuel) == (Outcome.CANCELED, None)
    assert answers == [False, True]
    assert 0.15 < time.monotonic() - started < 2
    assert executor.child_deaths == 0
    assert executor.kill(wanted.cast_id) is False
    assert executor.run(make_request(nothing)).outcome is Outcome.SUCCEEDED


def test_a_child_that_overruns_is_killed(
    executor: Executor, library: Library, make_program: Program, make_request: Request
) -> None:
    digest = library.publish(make_program(FOREVER))
    executor.start()
    pid = executor.child_pid
    assert pid is not None
    # A stopped process ticks no epoch: only the parent can end this cast.
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    result = executor.run(make_request(digest, wall_ms=100))
    assert result.outcome is Outcome.WALL_TIME_EXCEEDED
    assert time.monotonic() - started < 0.1 + 0.6
    assert executor.child_deaths == 1


def fake_child(tmp_path: Path, answer: bytes) -> Path:
    """A program in the place of Python that says it is up and then answers with these bytes."""
    ready = b"\x94\xa1v\xa1k\x90\xa0"  # ChildReady("v", "k", (), "")
    script = tmp_path / "python"
    script.write_text(
        f"#!{sys.executable}\nimport os, sys\nfd = int(sys.argv[-1])\nos.read(fd, 65536)\n"
        f"os.write(fd, {LENGTH_PREFIX.pack(len(ready)) + ready!r})\nos.read(fd, 65536)\n"
        f"os.write(fd, {answer!r})\nos.read(fd, 65536)\n"
    )
    script.chmod(0o755)
    return script


def frame(result: bytes) -> bytes:
    return LENGTH_PREFIX.pack(len(result)) + result


LIES = {
    "a frame of 4 GiB": b"\xff\xff\xff\xff",
    "nonsense": frame(b"\xc1\xc1\xc1"),
    "not a result": frame(b"\x91\xa3abc"),
    "more fuel than the limit": frame(
        b"\x99\xa9succeeded\x00\xcf\x7f" + b"\xff" * 7 + b"\x00\x00\x00\xc4\x00\xc4\x00\xa0"
    ),
    "more output than the limit": frame(b"\x99\xa9succeeded\x00\x01\x00\x00\x00\xc4\x14" + bytes(20) + b"\xc4\x00\xa0"),
    "an outcome that is not its to give": frame(b"\x99\xa6poison\x00\x01\x00\x00\x00\xc4\x00\xc4\x00\xa0"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_child_that_lies_is_killed(
    lie: str, tmp_path: Path, library: Library, make_request: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process.sys, "executable", str(fake_child(tmp_path, LIES[lie])))
    executor = Executor(library.config())
    result = executor.run(make_request(bytes(32), output_bytes=10))
    executor.close()
    assert result.outcome is Outcome.SANDBOX_CRASHED, result
    assert executor.child_deaths == 1


def test_the_fake_child_is_believed_when_it_tells_the_truth(
    tmp_path: Path, library: Library, make_request: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = frame(b"\x99\xa9succeeded\x00\x01\x00\x00\x00\xc4\x02ok\xc4\x00\xa0")
    monkeypatch.setattr(process.sys, "executable", str(fake_child(tmp_path, truth)))
    executor = Executor(library.config())
    assert executor.run(make_request(bytes(32), output_bytes=10)).output == b"ok"
    executor.close()


def test_a_child_that_cannot_start_says_why(library: Library, make_request: Request) -> None:
    config = ExecutorConfig(artifact_folder=library.folder, verify_key="bm8=", jail=JailMode.AUTO)
    executor = Executor(config)
    with pytest.raises(ExecutorStartError, match="verify key has 2 bytes"):
        executor.start()
    result = executor.run(make_request(bytes(32)))
    assert result.outcome is Outcome.PLATFORM_ERROR
    assert "verify key" in result.message
    executor.close()


@pytest.mark.parametrize(
    ("program", "text"), [("/bin/false", "did not come up.*exit code 1"), ("/nowhere/python", "cannot be started")]
)
def test_a_program_that_is_not_there_is_said_so(
    program: str, text: str, library: Library, make_request: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process.sys, "executable", program)
    executor = Executor(library.config())
    with pytest.raises(ExecutorStartError, match=text):
        executor.start()
    assert executor.run(make_request(bytes(32))).outcome is Outcome.PLATFORM_ERROR
    executor.close()


def test_a_child_that_grew_too_large_is_replaced(
    executor: Executor, library: Library, make_program: Program, make_request: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parent, "RESIDENT_BYTES_MAX", 1)
    digest = library.publish(make_program(""))
    executor.start()
    first = executor.child_pid
    assert executor.run(make_request(digest)).outcome is Outcome.SUCCEEDED
    assert executor.child_pid is None
    assert executor.run(make_request(digest)).outcome is Outcome.SUCCEEDED
    assert executor.child_pid != first
    assert executor.child_deaths == 0


@pytest.fixture
def tampered(library: Library, make_program: Program) -> tuple[Library, bytes]:
    """Publish a module nobody has loaded yet."""
    digest = library.publish(make_program(f"(i32.store (i32.const 8) (i32.const {time.monotonic_ns() % 2**31}))"))
    return library, digest


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_other_module(library: Library, digest: bytes) -> None:
    other = hashlib.sha256(b"other").digest()
    library.put(other, library.artifact(digest).read_bytes())
    library.signature(digest).write_bytes(library.signature(other).read_bytes())


TAMPERINGS: dict[str, Callable[[Library, bytes], object]] = {
    "a bit of the artifact": lambda library, digest: flip_bit(library.artifact(digest)),
    "a bit of the signature": lambda library, digest: flip_bit(library.signature(digest)),
    "an empty signature": lambda library, digest: library.signature(digest).write_bytes(b""),
    "a longer signature": lambda library, digest: library.signature(digest).write_bytes(bytes(65)),
    "another signer": lambda library, digest: library.put(
        digest, library.artifact(digest).read_bytes(), Signer(generate_key_pair().signing_key)
    ),
    "another module's signature": replace_by_other_module,
    "no signature": lambda library, digest: library.signature(digest).unlink(),
    "bytes that are no artifact, unsigned": lambda library, digest: library.artifact(digest).write_bytes(b"\x7fELF"),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_what_the_platform_did_not_sign_is_not_loaded(
    tampering: str, tampered: tuple[Library, bytes], shared_executor: Executor, make_request: Request
) -> None:
    library, digest = tampered
    TAMPERINGS[tampering](library, digest)
    result = shared_executor.run(make_request(digest))
    assert result.outcome is Outcome.PLATFORM_ERROR
    assert "signature" in result.message or ".sig" in result.message
    assert shared_executor.child_deaths == 0


def test_signed_bytes_of_another_engine_are_refused_by_the_engine(
    tampered: tuple[Library, bytes], shared_executor: Executor, make_request: Request
) -> None:
    library, digest = tampered
    library.put(digest, library.artifact(digest).read_bytes().replace(b"x86_64-unknown-linux", b"x86_63-unknown-linux"))
    result = shared_executor.run(make_request(digest))
    assert result.outcome is Outcome.PLATFORM_ERROR
    assert "does not fit this engine" in result.message


def test_the_loader_keeps_the_latest_and_verifies_again_what_it_dropped(
    library: Library, make_program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(library.folder)
    monkeypatch.setattr(loader, "LOADED_COUNT_MAX", 2)
    sandbox = Sandbox()
    modules = Loader(sandbox, Verifier(library.verify_key))
    first, second, third = (library.publish(make_program(f"(drop (i32.const {n}))")) for n in (1, 2, 3))
    kept = modules.get(first)
    modules.get(second)
    assert modules.get(first) is kept
    modules.get(third)  # drops `second`, the one not asked for longest
    flip_bit(library.artifact(first))
    flip_bit(library.artifact(second))
    assert modules.get(first) is kept
    with pytest.raises(ArtifactError, match="signature"):
        modules.get(second)
    assert sandbox.run(kept, b"", CastLimits()).outcome is Outcome.SUCCEEDED


def test_more_modules_than_the_child_may_hold_open(
    shared_executor: Executor, library: Library, make_program: Program, make_request: Request
) -> None:
    digests = [
        library.publish(make_program(f"(drop (i32.const {n}))"))
        for n in range(1000, 1000 + loader.LOADED_COUNT_MAX + 20)
    ]
    results: list[ExecuteResult] = [shared_executor.run(make_request(digest)) for digest in digests]
    assert {result.outcome for result in results} == {Outcome.SUCCEEDED}


def test_an_input_beyond_the_bound_never_reaches_the_child(shared_executor: Executor, make_request: Request) -> None:
    result = shared_executor.run(make_request(bytes(32), bytes(8 * 1024 * 1024 + 100_000)))
    assert result.outcome is Outcome.PLATFORM_ERROR
    assert "8388608" in result.message
    assert shared_executor.child_deaths == 0


def test_largest_input_and_output_pass_through_the_child(
    shared_executor: Executor, library: Library, make_program: Program, make_request: Request
) -> None:
    # One read of everything, one write of everything.
    body = """
      (drop (memory.grow (i32.const 130)))
      (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 8388608))
      (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))"""
    data = os.urandom(8 * 1024 * 1024)
    result = shared_executor.run(make_request(library.publish(make_program(body)), data, output_bytes=len(data)))
    assert result.outcome is Outcome.SUCCEEDED
    assert result.output == data
