"""To look for what a request may have made: the lists of one customer or payment, read to the end and matched."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

from gateways.stripe.errors import StripeUnknown
from gateways.stripe.link import Link

PAGE_MAX: Final = 100
# Ten thousand objects of one customer since an intent was written: a list that goes on is not one to decide money by.
PAGES_MAX: Final = 100


class Listed(Protocol):
    """An object in a list of Stripe's."""

    id: str


Item = TypeVar("Item", bound=Listed)
Fact = TypeVar("Fact")


class Page(Protocol[Item]):
    """A page of such a list."""

    data: list[Item]
    has_more: bool


async def find(
    link: Link,
    ask: Callable[[dict[str, Any]], Awaitable[Page[Item]]],
    read: Callable[[Item], Fact],
    matches: Callable[[Fact], bool],
) -> Fact | None:
    """Return the first object that `matches`, newest first; None when there is none in the whole list.

    `ask` gets the parameters of a page. Raises as `Link.ask`, and StripeUnknown for a list without end.
    """
    page: dict[str, Any] = {"limit": PAGE_MAX}
    for _ in range(PAGES_MAX):
        facts, last_id, has_more = await link.ask(ask(page), lambda found: _page(found, read))
        matched = next((fact for fact in facts if matches(fact)), None)
        if matched is not None or not has_more or last_id is None:
            return matched
        page = {**page, "starting_after": last_id}
    message = f"a list at Stripe has more than {PAGES_MAX * PAGE_MAX} objects: nobody can tell what is in it"
    raise StripeUnknown(message)


def _page(found: Page[Item], read: Callable[[Item], Fact]) -> tuple[list[Fact], str | None, bool]:
    return [read(each) for each in found.data], found.data[-1].id if found.data else None, found.has_more
