"""How operations become methods of the asynchronous client."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import BinaryIO, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar

from spell.core.exchange import Call, Request
from spell.core.listing import Listing
from spell.core.method_signature import show_as_method
from spell.models.casts import Cast, CastEvent
from spell.models.page import Page

T = TypeVar("T")
P = ParamSpec("P")


class AsyncRunner(Protocol):
    """What a resource needs of its client."""

    async def run(self, call: Call[T]) -> T:
        """Do one call and return what it gives."""
        ...

    async def save(self, request: Request, file: BinaryIO) -> int:
        """Write an answer's body to a file as it comes."""
        ...

    def follow(self, cast: Cast | str) -> "AsyncEvents":
        """Follow a cast."""
        ...


class AsyncResource:
    """A part of the API, as an attribute of the client."""

    def __init__(self, client: AsyncRunner) -> None:
        self.client = client


class AsyncPages(Generic[T]):
    """A list of the API. `async for` over it for every row, over `pages()` for pages; each time it asks anew."""

    def __init__(self, client: AsyncRunner, listing: Listing[T]) -> None:
        self._client = client
        self._listing = listing

    async def __aiter__(self) -> AsyncIterator[T]:
        """Yield every row, newest first, and get each page when it is needed."""
        async for page in self.pages():
            for row in page.data:
                yield row

    async def pages(self) -> AsyncIterator[Page[T]]:
        """Yield every page."""
        page = await self.page()
        yield page
        while page.next_cursor is not None:
            page = await self.page(page.next_cursor)
            yield page

    async def page(self, cursor: str | None = None) -> Page[T]:
        """Return one page: the first, or the one at the `next_cursor` of the page before."""
        return await self._client.run(self._listing.page(cursor))


class AsyncEvents:
    """The statuses of a cast as they come, the last of them final. Leave the `async with` block to stop earlier."""

    def __init__(self, events: AsyncGenerator[CastEvent]) -> None:
        self._events = events

    def __aiter__(self) -> AsyncIterator[CastEvent]:
        """Yield each status once, however often the connection was lost in between."""
        return self._events

    async def __aenter__(self) -> Self:
        """Return the events themselves."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._events.aclose()


def method(operation: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncResource, P], Awaitable[T]]:
    """Return the operation as a method to be awaited."""

    async def run(self: AsyncResource, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.client.run(operation(*args, **kwargs))

    show_as_method(run, operation, "Awaitable")
    return run


def iterator(operation: Callable[P, Listing[T]]) -> Callable[Concatenate[AsyncResource, P], AsyncPages[T]]:
    """Return the list as a method whose answer is iterated over, without awaiting it."""

    def pages(self: AsyncResource, /, *args: P.args, **kwargs: P.kwargs) -> AsyncPages[T]:
        return AsyncPages(self.client, operation(*args, **kwargs))

    show_as_method(pages, operation, "AsyncPages")
    return pages
