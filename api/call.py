"""One HTTP request on its way through the edge: what the log, the headers and an error answer need to know of it."""

from collections.abc import MutableMapping
from typing import Any, Final, cast
from uuid import UUID

from api.auth import Principal
from api.errors import Headers

_KEY: Final = "spell.call"


class Call:
    """Made by `api.edge` for each request; handlers add to it. `started` is the edge's clock in seconds."""

    __slots__ = (
        "answer_headers",
        "budget",
        "cast_ids",
        "client",
        "counted",
        "error",
        "headers",
        "limited_by",
        "lines",
        "method",
        "principal",
        "request_id",
        "started",
        "status",
    )

    def __init__(
        self,
        headers: dict[bytes, bytes],
        *,
        method: str,
        client: tuple[str, int] | None,
        request_id: str,
        started: float,
    ) -> None:
        self.headers = headers
        self.client = client
        """The other end of the connection, which may be a proxy's: `Strangers.address` tells whose request it is."""
        self.method = method
        self.request_id = request_id
        self.started = started
        self.status = 0
        self.error: str | None = None
        self.principal: Principal | None = None
        self.cast_ids: tuple[UUID, ...] = ()
        self.counted = False
        """Taken from a rate, or from none on purpose."""
        self.limited_by: str | None = None
        """Of which kind the rate was that refused it."""
        self.answer_headers: Headers = []
        """Added to the answer, whatever it is."""
        self.lines = b""
        """Added as well, as `api.protocol` takes them: of the caller's rate and his open casts."""
        self.budget = b""
        """The same of his tightest budget: as of the look-up of the caller, or of his cast."""

    def attach(self, scope: MutableMapping[str, Any]) -> None:
        """Make this the call of `scope`."""
        scope[_KEY] = self


def call_of(scope: Any) -> Call:  # an ASGI scope, typed differently by each framework
    """Return the call the edge attached to an ASGI scope."""
    return cast("Call", scope[_KEY])
