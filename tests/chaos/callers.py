"""Callers as they are: many accounts and keys, each request with an idempotency key and sent again when told nothing.

They run in a thread of their own and write down all they send and see.
"""

import asyncio
import base64
import hashlib
import threading
from collections import deque
from collections.abc import Sequence
from random import Random
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx
import msgspec

from tests.api.platform import Account
from tests.chaos import guests
from tests.chaos.history import Call, History, Limit, Seen, Wanted, now

CALLERS = 8
TIMEOUT_SECONDS = 12.0
# How long a caller goes on asking about one request. A test that breaks things for longer must not wonder.
GIVE_UP_SECONDS = 75.0
RETRY_SECONDS = (0.05, 0.6)
PAUSE_SECONDS = (0.0, 0.16)
BATCH_CASTS_MAX = 12
RECENT_MAX = 40
WAITS = ({}, {}, {"Prefer": "wait=1"}, {"Prefer": "wait=4"})
NOT_RETRIED = frozenset({200, 202, 400, 401, 402, 403, 404, 409, 422, 429})


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent, as often as needed."""

    account: Account
    kind: str
    path: str
    body: bytes = b""
    wanted: tuple[Wanted, ...] = ()
    idempotency_key: str | None = None
    headers: dict[str, str] = {}


class Callers:
    """While the context is open, casts are made, read and canceled. All choices come from `seed`."""

    def __init__(
        self, urls: Sequence[str], accounts: Sequence[Account], history: History, seed: str, *, callers: int = CALLERS
    ) -> None:
        self._urls = urls
        self._accounts = accounts
        self._history = history
        self._seed = seed
        self._callers = callers
        self._stop = threading.Event()
        self._paused = threading.Event()
        self._busy = 0
        self._recent: dict[UUID, deque[UUID]] = {account.id: deque(maxlen=RECENT_MAX) for account in accounts}
        self._done: deque[Request] = deque(maxlen=RECENT_MAX)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="callers")
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Return when every caller has the answer to its last request, or has given up."""
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def pause(self) -> None:
        """Return when nothing is under way; what was asked so far is not sent again after `go_on`."""
        self._paused.set()
        while self._busy and self._thread.is_alive():
            self._stop.wait(0.02)
        self._done.clear()

    def go_on(self) -> None:
        self._paused.clear()

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._callers):
                    group.create_task(self._call_on(number))
        except BaseExceptionGroup as error:
            self._failure = error

    async def _call_on(self, number: int) -> None:
        rng = Random(f"{self._seed}:{number}")
        clients = [httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False) for url in self._urls]
        async with clients[0], clients[1]:
            while not self._stop.is_set():
                await asyncio.sleep(rng.uniform(*PAUSE_SECONDS))
                if self._paused.is_set():
                    continue
                self._busy += 1
                try:
                    await self._see_through(clients, rng, self._next(rng))
                finally:
                    self._busy -= 1

    def _next(self, rng: Random) -> Request:
        account = rng.choice(self._accounts)
        recent = self._recent[account.id]
        (kind,) = rng.choices(("cast", "batch", "crowd", "read", "cancel", "again"), weights=(545, 140, 5, 180, 60, 70))
        if kind in {"read", "cancel"} and recent:
            path = f"/v1/casts/{rng.choice(recent)}"
            return Request(account=account, kind=kind, path=path if kind == "read" else f"{path}/cancel")
        if kind == "again" and self._done:
            return rng.choice(self._done)
        key = f"{rng.getrandbits(96):024x}"
        if kind in {"batch", "crowd"}:
            casts = [guests.any_cast(rng) for _ in range(rng.randint(2, BATCH_CASTS_MAX))]
            if kind == "crowd":
                account, casts = self._accounts[0], guests.crowd(rng)
            body = b'{"casts":[' + b",".join(text for text, _ in casts) + b"]}"
            wanted = tuple(want for _, want in casts)
            return Request(
                account=account, kind="batch", path="/v1/casts/batch", body=body, wanted=wanted, idempotency_key=key
            )
        body, want = guests.any_cast(rng)
        path = "/v1/cast" if rng.random() < 0.2 else "/v1/casts"
        return Request(
            account=account,
            kind="cast",
            path=path,
            body=body,
            wanted=(want,),
            idempotency_key=key,
            headers=rng.choice(WAITS) if path == "/v1/casts" else {"Prefer": "wait=3"},
        )

    async def _see_through(self, clients: Sequence[httpx.AsyncClient], rng: Random, request: Request) -> None:
        """Send until an answer says what became of it; some callers never learn."""
        give_up_at = now() + GIVE_UP_SECONDS
        while True:
            call = await self._send(clients, rng.randrange(len(clients)), request)
            if call.status in NOT_RETRIED:
                self._recent[request.account.id].extend(call.accepted_ids)
                if request.idempotency_key is not None and call.status in {200, 202}:
                    self._done.append(request)
                return
            if now() > give_up_at or rng.random() < 0.04:
                return
            await asyncio.sleep(rng.uniform(*RETRY_SECONDS))

    async def _send(self, clients: Sequence[httpx.AsyncClient], api: int, request: Request) -> Call:
        headers = {**request.account.headers, **request.headers}
        if request.body:
            headers["content-type"] = "application/json"
        if request.idempotency_key is not None:
            headers["idempotency-key"] = request.idempotency_key
        method = "GET" if request.kind == "read" else "POST"
        number, sent_at = self._history.number(), now()
        status: int | None = None
        error: str | None = None
        retry_after: str | None = None
        seen: tuple[Seen, ...] = ()
        try:
            answer = await clients[api].request(method, request.path, content=request.body, headers=headers)
            answered_at = now()
            status = answer.status_code
            retry_after = answer.headers.get("retry-after")
            body = answer.json() if answer.content else {}
            error = body.get("error") if status >= 400 else None
            seen = _seen(status, body, request)
        except httpx.TransportError as lost:
            answered_at = now()
            error = type(lost).__name__
        call = Call(
            number=number,
            account_id=request.account.id,
            key_id=request.account.key_id,
            kind=request.kind,
            path=request.path,
            api=api,
            sent_at=sent_at,
            answered_at=answered_at,
            status=status,
            error=error,
            retry_after=retry_after,
            idempotency_key=request.idempotency_key,
            wanted=request.wanted,
            seen=seen,
        )
        self._history.add(call)
        return call


def _seen(status: int, body: dict[str, Any], request: Request) -> tuple[Seen, ...]:
    """Return what the answer says, cast by cast; nothing when it says nothing about any."""
    if status in {200, 202, 201} and request.kind == "batch":
        return tuple(_one(one["status"], one.get("cast") or one["error"]) for one in body["results"])
    if status >= 500:
        return ()
    return (_one(status, body),)


def _one(status: int, body: dict[str, Any]) -> Seen:
    if status >= 400:
        limit = body.get("limit")
        return Seen(
            status=status,
            refusal=body.get("error"),
            limit=None if limit is None else msgspec.convert(limit, Limit, strict=False),
        )
    ended = body["status"] in {"succeeded", "failed", "canceled", "expired"}
    return Seen(
        status=status,
        cast_id=UUID(body["id"]),
        cast_status=body["status"],
        error_code=(body.get("error") or {}).get("code") if ended else None,
        cost_micros=body["cost"]["cost_micros"] if ended else None,
        output_sha256=_output_sha256(body) if body["status"] == "succeeded" else None,
    )


def _output_sha256(body: dict[str, Any]) -> str | None:
    """Return the digest of the output where the answer carries it byte for byte."""
    output = body.get("output")
    if isinstance(output, str) and body.get("output_encoding") == "base64":
        return hashlib.sha256(base64.b64decode(output)).hexdigest()
    if isinstance(output, str) and body.get("output_encoding") in {"text", "utf-8", "utf8"}:
        return hashlib.sha256(output.encode()).hexdigest()
    return None
