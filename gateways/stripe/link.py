"""What all families share: the library's services, and the one place where its errors become ours."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar

import stripe

from gateways.stripe.errors import StripeUnknown, failure_of

Found = TypeVar("Found")
Fact = TypeVar("Fact")

# Everything here keeps to this version of Stripe's interface, whatever the account's default is.
API_VERSION: Final = "2026-10-28.endive"


class Link:
    """The way to Stripe that the families of one gateway use together."""

    def __init__(self, services: stripe.V1Services) -> None:
        self.v1: Final = services

    async def ask(self, request: Awaitable[Found], read: Callable[[Found], Fact]) -> Fact:
        """Return what `read` makes of the answer. Raises StripeRefused, StripeBusy or StripeUnknown."""
        try:
            return read(await request)
        except stripe.StripeError as error:
            raise failure_of(error) from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # The library reads answers trustingly; one that is not Stripe's ends in one of these.
            message = f"Stripe's outcome is in doubt: an answer nobody understands ({type(error).__name__})"
            raise StripeUnknown(message) from None


class HasId(Protocol):
    """An object of Stripe's."""

    id: str


def id_of(field: str | HasId | None) -> str | None:
    """Return the id of what Stripe shows as an id, or whole where that was asked for."""
    return field if field is None or isinstance(field, str) else field.id


def texts(metadata: stripe.StripeObject | None) -> Mapping[str, str]:
    """Return metadata as a mapping of texts."""
    return {} if metadata is None else {name: str(value) for name, value in metadata.to_dict().items()}


def instant(seconds: int) -> datetime:
    """Return Stripe's seconds as an instant."""
    return datetime.fromtimestamp(seconds, tz=UTC)
