"""The data folder: what may be made in it, the secrets kept there, and the lock that says who supervises it."""

import fcntl
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Final, Self

# 32 random bytes: nobody guesses 256 bits, and the text needs no escaping inside a URL.
SECRET_BYTES: Final = 32


class LocalServerError(Exception):
    """A stand-in cannot run. The message is one line that says what is wrong and what to do about it."""


def make_private_folder(folder: Path) -> None:
    """Make `folder` (and what is missing above it) for the owner alone; a folder that exists is left as it is.

    Raises LocalServerError when it cannot be made or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}-{secrets.token_hex(4)}"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        message = (
            f"The data folder {folder} cannot be used ({error.strerror}): give one you may write to, with --data-dir."
        )
        raise LocalServerError(message) from error


def kept_secret(file: Path) -> str:
    """Return the secret in `file`, making it on first use. The file is readable by its owner alone."""
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        secret = secrets.token_urlsafe(SECRET_BYTES)
        write_private(file, secret)
        return secret


def write_private(file: Path, text: str) -> None:
    """Replace `file` as a whole, mode 0600: a reader or a crash sees the old text or the new one, never half of it."""
    fresh = file.with_name(f"{file.name}.fresh")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)
    fresh.replace(file)


class FolderLock:
    """One supervisor per data folder. The kernel drops the lock when the supervisor ends, even by SIGKILL."""

    def __init__(self, folder: Path) -> None:
        """`folder` exists already; the lock is the file `supervisor.lock` in it."""
        self._folder = folder
        self._file = folder / "supervisor.lock"
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            message = (
                f"The data folder {self._folder} is in use by process {owner}: "
                f"stop that one first (kill {owner}), or give another folder with --data-dir."
            )
            raise LocalServerError(message) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._descriptor is not None, "the lock was never taken"
        os.close(self._descriptor)
        self._descriptor = None
