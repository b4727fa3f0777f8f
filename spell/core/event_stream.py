"""Server-Sent Events, and how a client follows a cast through them. No I/O: bytes in, events out."""

from typing import Final

import msgspec

from spell.core.exchange import Broken, Reply, Request, Session
from spell.core.names import cast_path
from spell.core.operation import BACKOFF_FIRST_S, BACKOFF_MAX_S, RETRIED_STATUSES
from spell.core.refusals import error_of
from spell.errors import ConnectionFailed, SpellError, UnexpectedAnswer
from spell.models.casts import Cast, CastEvent

# The platform says something every 15 s, if only that the cast is still running.
SILENCE_S_MAX: Final = 45.0
_decode: Final = msgspec.json.Decoder(Cast).decode


class ServerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event as the standard has it."""

    type: str
    data: str
    id: str


class EventParser:
    """Cuts a stream of bytes into events, wherever the bytes were cut on their way."""

    def __init__(self) -> None:
        self._rest = b""
        self._type = ""
        self._data: list[str] = []
        self._id = ""
        self.retry_ms: int | None = None
        """How long the server wants a client to wait before it comes back."""

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """Take bytes and return the events that are complete now."""
        # A CR at the end may be half of a CRLF.
        whole = self._rest + chunk
        keep = b"\r" if whole.endswith(b"\r") else b""
        *lines, rest = whole[: len(whole) - len(keep)].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = rest + keep
        return [event for line in lines if (event := self._line(line.decode("utf-8", "replace"))) is not None]

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._type = value
        elif field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value)
        return None

    def _dispatch(self) -> ServerEvent | None:
        kind, data = self._type or "message", self._data
        self._type, self._data = "", []
        return ServerEvent(type=kind, data="\n".join(data), id=self._id) if data else None


class Following:
    """A cast being followed over as many connections as it takes. Each of its events comes out once, in order."""

    def __init__(self, cast: Cast | str, session: Session) -> None:
        self._path = f"{cast_path(cast)}/events"
        self._session = session
        self._parser = EventParser()
        self._seen: list[str] = []
        self._retries = 0
        self.done = False
        """The last event there will ever be came out."""

    @property
    def silence_s_max(self) -> float:
        """How long a connection may say nothing before it counts as lost."""
        return max(SILENCE_S_MAX, self._session.timeout_s)

    def connect(self) -> Request:
        """Return the request of the next connection, which goes on behind the last event."""
        self._parser = EventParser()
        resume = {"last-event-id": self._seen[-1]} if self._seen else {}
        return Request(method="GET", path=self._path, headers={"accept": "text/event-stream", **resume})

    def feed(self, chunk: bytes) -> list[CastEvent]:
        """Take bytes and return the events that are complete now and were not seen before."""
        events: list[CastEvent] = []
        for event in self._parser.feed(chunk):
            self._retries = 0  # also by what was seen before: proxies cut the stream of a long cast again and again
            if event.id in self._seen or self.done:
                continue
            try:
                cast = _decode(event.data)
            except msgspec.MsgspecError as error:
                message = f"an event of the stream cannot be read: {error}"
                raise UnexpectedAnswer(message) from error
            self._seen.append(event.id)
            self.done = cast.is_final
            events.append(CastEvent(id=event.id, type=event.type, cast=cast))
        return events

    def lost(self, outcome: Reply | Broken | None) -> float:
        """Return the seconds to wait before the next connection; raise when there must be none.

        `outcome` is the refusal or what broke; None when the server ended the stream, as it does to shut down.
        """
        after_s = 0
        if isinstance(outcome, Reply):
            error: SpellError = (refusal := error_of(outcome))
            after_s = refusal.retry_after_s or 0
        elif isinstance(outcome, Broken):
            error = outcome.error
        else:
            error = ConnectionFailed("the stream ended before the cast did")
        final = isinstance(outcome, Reply) and outcome.status not in RETRIED_STATUSES
        if final or self._retries == self._session.retries_max:
            raise error from (outcome.cause if isinstance(outcome, Broken) else None)
        asked_s = (self._parser.retry_ms or 0) / 1000
        pause_s = asked_s + after_s + self._session.chance() * min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2**self._retries)
        self._retries += 1
        return pause_s
