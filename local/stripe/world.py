"""What a handler works with: the objects, the clock, and what to tell and do later."""

import secrets
import string
import threading
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final

from local.stripe.api import VERSION
from local.stripe.errors import refuse_unknown
from local.stripe.shapes import Params
from local.stripe.store import Body, Store

_ALPHABET: Final = string.ascii_letters + string.digits
_ID_LENGTH: Final = 24


class World:
    """The state of one stand-in. Handlers hold `lock` and are inside a transaction, as `acting` gives them."""

    def __init__(self, store: Store, clock: Callable[[], float], url: str) -> None:
        """`clock` tells the machine's time in seconds; `url` is where the pages are."""
        self.store: Final = store
        self.lock: Final = threading.RLock()
        self.url: Final = url
        self.clock: Final = clock
        self.changed: Final = threading.Event()
        """Set when there may be something to do for the clock."""
        self.webhook_url: str | None = None
        """Where events are sent."""
        self.on_event: Callable[[Body], None] = lambda _event: None
        self._pinned: int | None = None
        self._request: Body | None = None

    @property
    def now(self) -> int:
        """The stand-in's time: the machine's, moved by what the clock was advanced."""
        return int(self.clock()) + self.offset if self._pinned is None else self._pinned

    @property
    def offset(self) -> int:
        """By how many seconds the clock was advanced."""
        return int(self.store.fact("clock_offset") or 0)

    def advance(self, seconds: int) -> None:
        """Move the clock; what became due meanwhile is for the caller to do."""
        self.store.set_fact("clock_offset", str(self.offset + seconds))
        self.changed.set()

    @contextmanager
    def acting(self, *, at: int | None = None, request: Body | None = None) -> Generator[None]:
        """Let one handler work, at a time of its own where the clock does something that was due earlier."""
        with self.lock, self.store.transaction():
            before = self._pinned, self._request
            self._pinned, self._request = at if at is not None else self._pinned, request or self._request
            try:
                yield
            finally:
                self._pinned, self._request = before

    @staticmethod
    def new_id(prefix: str) -> str:
        """Return an id that nobody has."""
        return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))}"

    def insert(self, body: Body) -> Body:
        """Keep a new object and return it."""
        self.store.insert(body)
        return body

    def update(self, body: Body, **changes: Any) -> Body:  # values of whatever fields the object has
        """Change an object, keep it and return it."""
        body.update(changes)
        self.store.update(body)
        return body

    def find(self, kind: str, identifier: str | None) -> Body | None:
        """Return an object of a kind, or None."""
        body = self.store.find(identifier) if identifier else None
        return body if body is not None and body["object"] == kind else None

    def get(self, kind: str, identifier: str, param: str = "id") -> Body:
        """Return an object of a kind. Raises StripeError when there is none; `param` says who asked for it."""
        body = self.find(kind, identifier)
        if body is None:
            refuse_unknown(kind, identifier, param)
        return body

    def known(self, kind: str, identifier: str) -> Body:
        """Return an object that another one speaks of."""
        body = self.find(kind, identifier)
        assert body is not None, f"{identifier} is spoken of, so it exists"
        return body

    def all(self, kind: str, *, owner: str | None = None, parent: str | None = None) -> Iterator[Body]:
        """Yield objects of a kind, newest first."""
        return self.store.newest_first(kind, owner=owner, parent=parent)

    def later(self, at: int, verb: str, ref: str) -> None:
        """Have the clock do something."""
        self.store.add_job(at, verb, ref)
        self.changed.set()

    def tell(self, event_type: str, body: Body, *, previous: Body | None = None, account: str | None = None) -> Body:
        """Make an event about an object as it is now, and have it sent to the webhook."""
        data: Body = {"object": {name: value for name, value in body.items() if not name.startswith("_")}}
        if previous is not None:
            data["previous_attributes"] = previous
        event: Body = {
            "id": self.new_id("evt"),
            "object": "event",
            "api_version": VERSION,
            "created": self.now,
            "data": data,
            "livemode": False,
            "pending_webhooks": 0 if self.webhook_url is None else 1,
            "request": self._request or {"id": None, "idempotency_key": None},
            "type": event_type,
        }
        if account is not None:
            event["account"] = account
        self.insert(event)
        self.on_event(event)
        return event

    def tell_changes(self, event_type: str, body: Body, before: Body, *, account: str | None = None) -> None:
        """Make an `updated` event that says what was before; none where nothing changed."""
        previous = {
            name: before.get(name)
            for name, value in body.items()
            if not name.startswith("_") and before.get(name) != value
        }
        if previous:
            self.tell(event_type, body, previous=previous, account=account)


def reworded(world: World, kind: str, identifier: str, params: Params, *, fields: Collection[str] = ()) -> Body:
    """Change what an object says, its metadata and these fields, and tell of it where something changed."""
    body = world.get(kind, identifier)
    before = dict(body)
    body |= {name: value for name, value in params.items() if name in fields}
    world.update(body, metadata=merged_metadata(body["metadata"], params))
    world.tell_changes(f"{kind}.updated", body, before)
    return body


def merged_metadata(before: dict[str, str] | None, params: Params) -> dict[str, str]:
    """Return the metadata after a request: an empty value strikes a key out, an empty hash all of them."""
    if "metadata" not in params:
        return before or {}
    if params["metadata"] is None:
        return {}
    together = {**(before or {}), **params["metadata"]}
    return {name: value for name, value in together.items() if value != ""}
