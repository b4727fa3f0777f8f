"""JSON lines on standard output: one line a request, collected for a moment and written together by a thread.

Bodies, headers, query strings and credentials are never logged.
"""

import asyncio
import logging
import queue
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

# One write for what happened within this time; a crash loses no more of the log than that. Each costs a thread that
# wakes, takes the interpreter's lock and writes: a hundred times a second that was 4 % of a busy process' profile.
FLUSH_AFTER_S: Final = 0.05
# When nobody reads our output (a full pipe), the log gives way, never the requests. A line is about 300 bytes.
CHUNKS_WAITING_MAX: Final = 1_000

_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class RequestLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answered request."""

    time: datetime
    level: str
    event: str
    method: str
    path: str
    status: int
    duration_us: int
    request_id: str
    account_id: UUID | None = None
    key_id: UUID | None = None
    cast_ids: tuple[UUID, ...] = ()
    error: str | None = None


class EventLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something a part of the process had to say."""

    time: datetime
    level: str
    event: str
    logger: str
    detail: str | None = None


Line = RequestLine | EventLine


class Log:
    """Where lines go. `now` is the wall clock; `write` gets whole lines, from a thread of the log's own."""

    def __init__(self, level: str, *, now: Callable[[], datetime], write: Callable[[bytes], object]) -> None:
        self._now = now
        self._write = write
        self.threshold = _LEVELS[level]
        self.requests_shown = self.threshold <= logging.INFO
        self.dropped = 0
        """Lines nobody will see, because standard output was blocked."""
        self._lines: list[Line] = []
        self._encode = msgspec.json.Encoder().encode_lines
        self._chunks: queue.Queue[bytes | None] = queue.Queue(CHUNKS_WAITING_MAX)
        self._thread = threading.Thread(target=self._drain, name="log", daemon=True)
        self._thread.start()

    @property
    def now(self) -> datetime:
        """The wall clock."""
        return self._now()

    def add(self, line: Line) -> None:
        """Take a line from the event loop's thread; it is written within FLUSH_AFTER_S."""
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_AFTER_S, self.flush)
        self._lines.append(line)

    def add_from_anywhere(self, line: Line) -> None:
        """Take a line from any thread, also without a running loop."""
        self._put(self._encode([line]), 1)

    def flush(self) -> None:
        """Hand what was collected to the writing thread."""
        lines, self._lines = self._lines, []
        if lines:
            self._put(self._encode(lines), len(lines))

    def close(self) -> None:
        """Write what is left and end the thread. Waits no longer than two seconds for a blocked reader."""
        self.flush()
        try:
            self._chunks.put(None, timeout=1)
        except queue.Full:
            return
        self._thread.join(timeout=1)

    def _put(self, chunk: bytes, lines: int) -> None:
        try:
            self._chunks.put_nowait(chunk)
        except queue.Full:
            self.dropped += lines

    def _drain(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            self._write(chunk)


def write_stdout(chunk: bytes) -> None:
    """Write whole lines to standard output."""
    sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


class JsonHandler(logging.Handler):
    """Brings what libraries and our own parts log into the same lines."""

    def __init__(self, log: Log) -> None:
        super().__init__(log.threshold)
        self._log = log
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; its traceback, if any, goes into `detail`."""
        whole = self.format(record)
        event, _, detail = whole.partition("\n")
        line = EventLine(self._log.now, record.levelname.lower(), event, record.name, detail or None)
        self._log.add_from_anywhere(line)


def install(log: Log) -> None:
    """Send everything that is logged in this process to `log`, and nothing anywhere else."""
    root = logging.getLogger()
    root.handlers = [JsonHandler(log)]
    root.setLevel(log.threshold)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "litestar"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = name != "uvicorn.access"  # our own line says it, with ids
