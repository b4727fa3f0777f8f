"""What an endpoint may be: its address, the types it subscribes to, and how long an old secret signs. Pure."""

from collections.abc import Sequence
from typing import Final

import msgspec

from domain.model.errors import Code, Fault, refuse
from domain.model.webhook_url import Network, url_fault
from domain.model.webhooks import PATTERNS, EventType

# Each of them is a row and a request for every cast; a router of one's own serves more.
ENDPOINTS_PER_ACCOUNT_MAX: Final = 20
DESCRIPTION_CHARACTERS_MAX: Final = 200
# Long enough for a deployment that happens once a day; a week for those that need a maintenance window.
GRACE_S_DEFAULT: Final = 24 * 3600
GRACE_S_MAX: Final = 7 * 24 * 3600
# Rows that one transaction cancels or sends again: some tens of milliseconds under the account's lock.
ROWS_AT_ONCE_MAX: Final = 1_000


class EndpointTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What an owner says of an endpoint."""

    url: str
    event_types: Sequence[str]
    description: str


def check_endpoint(terms: EndpointTerms, private_allowed: tuple[Network, ...]) -> None:
    """Raise RefusedError (validation) for an address or types that cannot be meant."""
    faults: list[Fault] = []
    if (fault := webhook_url_fault("url", terms.url, private_allowed)) is not None:
        faults.append(fault)
    if not terms.event_types:
        faults.append(Fault(location="event_types", message="it is empty", fix='Send ["*"] for every event.'))
    unknown = sorted(set(terms.event_types) - PATTERNS)
    if unknown:
        fix = f"Use {', '.join(EventType)}, a group like cast.*, or *."
        faults.append(Fault(location="event_types", message=f"there are no events {unknown[0][:50]!r}", fix=fix))
    if faults:
        raise refuse(Code.VALIDATION, f"The webhook does not fit: {faults[0].message}.", faults=tuple(faults))


def webhook_url_fault(location: str, url: str, private_allowed: tuple[Network, ...]) -> Fault | None:
    """Return what is wrong with `url` as a receiver of webhooks, or None."""
    wrong = url_fault(url, private_allowed=private_allowed)
    fix = "Send an https URL that the public internet can reach."
    return None if wrong is None else Fault(location=location, message=wrong, fix=fix)
