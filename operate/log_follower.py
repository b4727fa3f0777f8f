"""Copies what processes append to their log files to a stream, a line at a time, with the process's name before it."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO

_POLL_SECONDS: Final = 0.2


class LogFollower:
    """While the context is open, follows all `*.log` of a folder from where they end now. Off: does nothing."""

    def __init__(self, folder: Path, stream: TextIO, *, enabled: bool) -> None:
        self._folder: Final = folder
        self._stream: Final = stream
        self._stop: Final = threading.Event()
        self._thread: Final = threading.Thread(target=self._run, name="log-follower") if enabled else None
        self._offsets: Final = {log: log.stat().st_size for log in folder.glob("*.log")}

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join()

    def copy_once(self) -> int:
        """Copy the whole lines that are new, and return how many bytes they had."""
        copied_bytes = 0
        for log in sorted(self._folder.glob("*.log")):
            offset_bytes = self._offsets.get(log, 0)
            if log.stat().st_size < offset_bytes:
                offset_bytes = 0  # it was emptied, because it had grown long
            with log.open("rb") as reader:
                reader.seek(offset_bytes)
                fresh = reader.read()
            whole = fresh[: fresh.rfind(b"\n") + 1]
            for line in whole.decode("utf-8", "replace").splitlines():
                self._stream.write(f"{log.stem:<12} {line}\n")
            self._offsets[log] = offset_bytes + len(whole)
            copied_bytes += len(whole)
        self._stream.flush()
        return copied_bytes

    def _run(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            self.copy_once()
        self.copy_once()
