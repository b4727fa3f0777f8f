"""Callers that cast all the time, as good clients do: every request with an idempotency key, tried again until told."""

import threading
import time
from types import TracebackType
from typing import Self
from uuid import uuid4

import httpx

from tests.api.platform import Account
from tests.stack import Stack, until

CALLERS = 6
ATTEMPT_SECONDS_MAX = 60.0


class Load:
    """While the context is open, casts are made; `accepted` are the ids that some api has answered with."""

    def __init__(self, stack: Stack, account: Account, spell: str = "empty", *, wait_seconds: int = 0) -> None:
        """With `wait_seconds` each caller waits so long for a result before it casts again."""
        self._stack = stack
        self._account = account
        self._spell = spell
        self._prefer = {"Prefer": f"wait={wait_seconds}"} if wait_seconds else {}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CALLERS)]
        self.accepted: list[str] = []
        self.unexpected: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """Return when so many casts more were accepted."""
        goal = len(self.accepted) + more
        until(lambda: len(self.accepted) >= goal or self.unexpected, f"{more} casts more are accepted")
        assert not self.unexpected

    def _run(self, number: int) -> None:
        with self._stack.client(self._account, api=number % 2) as client:
            while not self._stop.is_set():
                try:
                    self._cast(client, uuid4().hex)
                except AssertionError as error:
                    self.unexpected.append(str(error))
                    return

    def _cast(self, client: httpx.Client, key: str) -> None:
        deadline = time.monotonic() + ATTEMPT_SECONDS_MAX
        while True:
            try:
                answer = client.post(
                    "/v1/casts", json={"spell": f"dev/{self._spell}"}, headers={"Idempotency-Key": key, **self._prefer}
                )
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code in {200, 202}:
                self.accepted.append(answer.json()["id"])
                return
            assert answer is None or answer.status_code == 503, answer.text
            assert time.monotonic() < deadline, "no api has taken the cast"
            self._stop.wait(0.05)
