"""Idempotency keys: what was answered once is answered again, for a day."""

import hashlib
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final, NoReturn

import msgspec

from local.stripe.api import KEY_LIFE_S
from local.stripe.errors import StripeError
from local.stripe.shapes import Params
from local.stripe.store import Answer
from local.stripe.world import World

KEY_LENGTH_MAX: Final = 255


class Keys:
    """The keys in use, and what those of the last day were answered."""

    def __init__(self, world: World) -> None:
        self._world: Final = world
        self._lock: Final = threading.Lock()
        self._in_use: Final[set[str]] = set()

    @contextmanager
    def using(self, key: str | None) -> Generator[None]:
        """Keep a key to one request at a time. Raises StripeError when another one has it."""
        if key is None:
            yield
            return
        if len(key) > KEY_LENGTH_MAX:
            message = f"The idempotency key is too long: it may have {KEY_LENGTH_MAX} characters."
            raise StripeError(HTTPStatus.BAD_REQUEST, "invalid_request_error", message)
        with self._lock:
            if key in self._in_use:
                raise StripeError(
                    HTTPStatus.CONFLICT,
                    "idempotency_error",
                    "There is currently another in-progress request using this Idempotent Key (that probably means you "
                    f"submitted twice, and the other request is still going through): {key}. Please try again later.",
                    code="idempotency_key_in_use",
                )
            self._in_use.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._in_use.discard(key)

    def replayed(self, key: str | None, route: str, params: Params) -> Answer | None:
        """Return what a key was answered. Raises StripeError when it was used for another request."""
        if key is None:
            return None
        self._world.store.forget_answers(self._world.now - KEY_LIFE_S)
        answer = self._world.store.answer(key)
        if answer is None:
            return None
        if answer.route != route:
            _refuse_key(key, f"for the same endpoint they were first used for ('{route}' vs '{answer.route}')")
        if answer.fingerprint != _fingerprint(params):
            _refuse_key(key, "with the same parameters they were first used with")
        return answer

    def keep(self, key: str | None, route: str, params: Params, status: int, body: bytes) -> None:
        """Remember what a key is answered, with the work that was done for it."""
        if key is not None:
            self._world.store.keep_answer(key, Answer(route, _fingerprint(params), status, body, self._world.now))


def _refuse_key(key: str, words: str) -> NoReturn:
    message = (
        f"Keys for idempotent requests can only be used {words}. Try using a key other than '{key}' if you meant to "
        "execute a different request."
    )
    raise StripeError(HTTPStatus.BAD_REQUEST, "idempotency_error", message)


def _fingerprint(params: Params) -> str:
    return hashlib.sha256(msgspec.json.encode(params, order="deterministic")).hexdigest()
