"""One call of the API, from its headers and its form to its answer."""

import base64
import binascii
import secrets
import threading
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec

from local.stripe import faults
from local.stripe.answers import Renderer
from local.stripe.api import VERSION
from local.stripe.errors import StripeError, refuse
from local.stripe.faults import Fault, Faults
from local.stripe.keys import Keys
from local.stripe.routes import INCLUDED, ROUTES, Route, Router
from local.stripe.shapes import Params, checked, parsed
from local.stripe.world import World

_LOGS: Final = "https://dashboard.stripe.com/test/logs"


class Call(NamedTuple):
    """A request of the API."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By names in lower case."""
    form: str
    """The body, or what stands behind the question mark."""


class _Work(NamedTuple):
    """A call that is to be done."""

    call: Call
    route: Route
    ids: tuple[str, ...]
    params: Params
    key: str | None
    request_id: str
    fault: Fault | None


class Reply(NamedTuple):
    """An answer, or none: `fault` says that the caller hears nothing."""

    status: int
    headers: dict[str, str]
    body: bytes
    fault: Fault | None = None


class Answering:
    """Answers calls. Any number of threads may call."""

    def __init__(self, world: World, key: str, trouble: Faults) -> None:
        """`key` is the secret key of the one account; `trouble` says what goes wrong."""
        self._world: Final = world
        self._key: Final = key
        self._trouble: Final = trouble
        self._router: Final = Router(ROUTES)
        self._keys: Final = Keys(world)
        self._renderer: Final = Renderer(world, INCLUDED)
        self.stopping: Final = threading.Event()
        """Set when the server stops; whoever is slow on purpose hurries then."""

    def answer(self, call: Call) -> Reply:
        """Do what a call asks."""
        request_id = f"req_{secrets.token_hex(7)}"
        headers = {"Request-Id": request_id, "Stripe-Version": VERSION}
        key = call.headers.get("idempotency-key") if call.method == "POST" else None
        if key is not None:
            headers["Idempotency-Key"] = key
        fault: Fault | None = None
        try:
            self._check_caller(call)
            route, ids = self._route(call)
            fault = self._trouble.take(call.method, call.path)
            if fault is not None and fault.kind == faults.RATE_LIMIT:
                raise _too_many()
            if fault is not None and fault.kind == faults.RESET:
                return Reply(0, headers, b"", fault)
            params = checked(route.shape, parsed(call.form))
            with self._keys.using(key):
                status, body, replayed = self._once(_Work(call, route, ids, params, key, request_id, fault))
            if replayed:
                headers["Idempotent-Replayed"] = "true"
        except StripeError as error:
            status, body = _refused(error, request_id)
        silent = fault is not None and fault.kind in {faults.TIMEOUT, faults.RESET_AFTER}
        return Reply(status, headers, body, fault if silent else None)

    def _once(self, work: _Work) -> tuple[int, bytes, bool]:
        """Do the work and keep the answer with it, or answer as before."""
        kind = None if work.fault is None else work.fault.kind
        if work.fault is not None and kind == faults.SLOW:
            self.stopping.wait(work.fault.seconds)
        key, path, params = work.key, work.call.path, work.params
        with self._world.acting(request={"id": work.request_id, "idempotency_key": key}):
            before = self._keys.replayed(key, path, params)
            if before is not None:
                return before.status, before.body, True
            try:
                if kind == faults.ERROR:
                    raise _broken()
                # What fails is undone, but for the attempts that a refused card leaves behind; its answer is kept.
                with self._world.store.step():
                    done = work.route.handler(self._world, params, *work.ids)
                    shown = self._renderer.shown(done, params.get("expand") or ())
                if kind == faults.ERROR_AFTER:
                    raise _broken()
                status, body = HTTPStatus.OK.value, msgspec.json.encode(shown)
            except StripeError as error:
                status, body = _refused(error, work.request_id)
            self._keys.keep(key, path, params, status, body)
        return status, body, False

    def _check_caller(self, call: Call) -> None:
        """Raise StripeError for a caller without the key, or of another version."""
        way, _, token = call.headers.get("authorization", "").partition(" ")
        if way.lower() == "basic":
            try:
                token = base64.b64decode(token, validate=True).decode().partition(":")[0]
            except (binascii.Error, UnicodeDecodeError):
                token = ""
        if not token:
            message = (
                "You did not provide an API key. You need to provide your API key in the Authorization header, using "
                "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
            )
            raise StripeError(HTTPStatus.UNAUTHORIZED, "invalid_request_error", message)
        if not secrets.compare_digest(token.strip().encode(), self._key.encode()):
            shown = f"{token[:8]}{'*' * max(0, len(token) - 12)}{token[-4:]}"
            message = f"Invalid API Key provided: {shown}"
            raise StripeError(HTTPStatus.UNAUTHORIZED, "invalid_request_error", message)
        version = call.headers.get("stripe-version", VERSION)
        if version != VERSION:
            refuse(f"Invalid Stripe API version: {version}. The stand-in speaks {VERSION} alone.")
        if "stripe-account" in call.headers:
            refuse("The stand-in answers for the platform's own account alone, without Stripe-Account.")

    def _route(self, call: Call) -> tuple[Route, tuple[str, ...]]:
        found = self._router.find(call.method, call.path)
        if found is None:
            message = (
                f"Unrecognized request URL ({call.method}: {call.path}). Please see https://stripe.com/docs or we can "
                "help at https://support.stripe.com/."
            )
            raise StripeError(HTTPStatus.NOT_FOUND, "invalid_request_error", message)
        return found


def _refused(error: StripeError, request_id: str) -> tuple[int, bytes]:
    fields = {**error.fields, "request_log_url": f"{_LOGS}/{request_id}"}
    return error.status.value, msgspec.json.encode({"error": fields})


def _too_many() -> StripeError:
    message = (
        "Request rate limit exceeded. You can learn more about rate limits here https://stripe.com/docs/rate-limits."
    )
    return StripeError(HTTPStatus.TOO_MANY_REQUESTS, "invalid_request_error", message, code="rate_limit")


def _broken() -> StripeError:
    message = "An unknown error occurred: a fault of the stand-in, as it was told."
    return StripeError(HTTPStatus.INTERNAL_SERVER_ERROR, "api_error", message)
