"""How operations become methods of the synchronous client."""

from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import BinaryIO, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar

from spell.core.exchange import Call, Request
from spell.core.listing import Listing
from spell.core.method_signature import show_as_method
from spell.models.casts import Cast, CastEvent
from spell.models.page import Page

T = TypeVar("T")
P = ParamSpec("P")


class Runner(Protocol):
    """What a resource needs of its client."""

    def run(self, call: Call[T]) -> T:
        """Do one call and return what it gives."""
        ...

    def save(self, request: Request, file: BinaryIO) -> int:
        """Write an answer's body to a file as it comes."""
        ...

    def follow(self, cast: Cast | str) -> "Events":
        """Follow a cast."""
        ...


class Resource:
    """A part of the API, as an attribute of the client."""

    def __init__(self, client: Runner) -> None:
        self.client = client


class Pages(Generic[T]):
    """A list of the API. Iterate over it for every row, over `pages()` for a page at a time; each time it asks anew."""

    def __init__(self, client: Runner, listing: Listing[T]) -> None:
        self._client = client
        self._listing = listing

    def __iter__(self) -> Iterator[T]:
        """Yield every row, newest first, and get each page when it is needed."""
        for page in self.pages():
            yield from page.data

    def pages(self) -> Iterator[Page[T]]:
        """Yield every page."""
        page = self.page()
        yield page
        while page.next_cursor is not None:
            page = self.page(page.next_cursor)
            yield page

    def page(self, cursor: str | None = None) -> Page[T]:
        """Return one page: the first, or the one at the `next_cursor` of the page before."""
        return self._client.run(self._listing.page(cursor))


class Events:
    """The statuses of a cast as they come, the last of them final. Leave the `with` block to stop earlier."""

    def __init__(self, events: Generator[CastEvent]) -> None:
        self._events = events

    def __iter__(self) -> Iterator[CastEvent]:
        """Yield each status once, however often the connection was lost in between."""
        return self._events

    def __enter__(self) -> Self:
        """Return the events themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._events.close()


def method(operation: Callable[P, Call[T]]) -> Callable[Concatenate[Resource, P], T]:
    """Return the operation as a method that does it."""

    def run(self: Resource, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.client.run(operation(*args, **kwargs))

    show_as_method(run, operation, "")
    return run


def iterator(operation: Callable[P, Listing[T]]) -> Callable[Concatenate[Resource, P], Pages[T]]:
    """Return the list as a method whose answer is iterated over."""

    def pages(self: Resource, /, *args: P.args, **kwargs: P.kwargs) -> Pages[T]:
        return Pages(self.client, operation(*args, **kwargs))

    show_as_method(pages, operation, "Pages")
    return pages
