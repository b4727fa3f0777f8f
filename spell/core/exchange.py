"""What goes over the wire, as data: a request, its reply, and the two things a client does for the core."""

from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

import msgspec

from spell.errors import ConnectionFailed

JSON: Final = "application/json"

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request, without host and credentials. `path` is already quoted."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = {}
    body: bytes | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole HTTP answer. Names of headers are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the request was done."""
        return 200 <= self.status < 300  # noqa: PLR2004  # the class of statuses that RFC 9110 calls successful


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """There was no answer."""

    error: ConnectionFailed
    cause: Exception
    maybe_done: bool
    """The request was on its way, so the server may have done it."""


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """Ask the client to send a request; it answers with a Reply or Broken."""

    request: Request
    timeout_s: float
    """How long the server may stay silent."""


class Sleep(msgspec.Struct, frozen=True, kw_only=True):
    """Ask the client to wait."""

    seconds: float


Steps: TypeAlias = Generator[Send | Sleep, Reply | Broken | None, T]
"""A call in progress: it asks for one thing at a time, and returns its result."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What a client is set to, and where it takes time and chance from."""

    timeout_s: float
    total_timeout_s: float
    retries_max: int
    clock: Callable[[], float]
    """Seconds of a clock that never goes back."""
    chance: Callable[[], float]
    """At least 0, below 1."""
    new_key: Callable[[], str]
    """A text nobody used before."""


class Call(Protocol[T_co]):
    """Something a client can do for its user, with retries and all."""

    def steps(self, session: Session) -> Steps[T_co]:
        """Return the steps of doing it once."""
        ...


class Plan(Generic[T]):
    """A Call of several requests."""

    def __init__(self, steps: Callable[[Session], Steps[T]]) -> None:
        self._steps = steps

    def steps(self, session: Session) -> Steps[T]:
        """Return the steps of doing it once."""
        return self._steps(session)


def json_body(value: Any) -> bytes:  # whatever of the user's can be written as JSON
    """Return `value` as JSON in UTF-8. TypeError when it cannot be written as JSON."""
    return msgspec.json.encode(value)


def query_of(**values: object) -> tuple[tuple[str, str], ...]:
    """Return the query of the values that are given; None is left out."""
    return tuple((name, str(value)) for name, value in values.items() if value is not None)
