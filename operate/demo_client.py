"""What the demo asks over HTTP, as any user could with curl."""

import base64
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

import httpx
import msgspec

from spell.cli import CommandError

# A cast answers within ten seconds by itself; publishing compiles, which a loaded machine makes slow.
_TIMEOUT: Final = httpx.Timeout(60.0, read=180.0)
ANSWER_CHARACTERS_MAX: Final = 300


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a cast used."""

    fuel: int | None
    cpu_ms: float | None
    duration_ms: float | None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a cast cost."""

    held_micros: int
    cost_micros: int | None


class Cast(msgspec.Struct, frozen=True, kw_only=True):
    """A cast as the api shows it, as far as the demo looks."""

    id: str
    status: str
    output: Any
    output_encoding: str | None
    error: dict[str, Any] | None
    usage: Usage
    cost: Cost

    @property
    def output_bytes(self) -> bytes:
        """The output of a cast whose result is not JSON."""
        assert isinstance(self.output, str), "base64 and text travel as strings"
        return base64.b64decode(self.output) if self.output_encoding == "base64" else self.output.encode()


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a spell in the store."""

    version: str
    digest: str
    size_bytes: int


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key just made."""

    prefix: str
    key: str


class _Accepted(msgspec.Struct, frozen=True, kw_only=True):
    id: str


class _Verdict(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    cast: _Accepted | None = None
    error: msgspec.Raw | None = None


class _Batch(msgspec.Struct, frozen=True, kw_only=True):
    results: list[_Verdict]


class _Holds(msgspec.Struct, frozen=True, kw_only=True):
    open_casts: int


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    data: list[Cast]
    next_cursor: str | None


class LedgerAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One account of the platform's ledger."""

    name: str
    debit_micros: int
    credit_micros: int


class TrialBalance(msgspec.Struct, frozen=True, kw_only=True):
    """Every account of the ledger, and all credits minus all debits."""

    data: list[LedgerAccount]
    sum_micros: int


def open_client(url: str, api_key: str) -> httpx.Client:
    """Return a client for one key."""
    return httpx.Client(base_url=url, headers=bearer(api_key), timeout=_TIMEOUT, trust_env=False)


def bearer(api_key: str) -> dict[str, str]:
    """Return the header that carries a key."""
    return {"Authorization": f"Bearer {api_key}"}


def once() -> dict[str, str]:
    """Return the header that makes a POST safe to send twice."""
    return {"Idempotency-Key": uuid4().hex}


def accepted(answer: httpx.Response) -> httpx.Response:
    """Return the answer when it is a success. Raises CommandError with what the api said and what to do."""
    if answer.is_success:
        return answer
    try:
        problem = msgspec.json.decode(answer.content, type=dict[str, Any])
        said = str(problem.get("detail") or problem.get("title"))
    except msgspec.DecodeError:
        said = answer.text[:ANSWER_CHARACTERS_MAX]
    message = (
        f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}: {said}\n"
        "this should not happen in the demo: look into the logs it named, or start on a fresh folder with --data-dir"
    )
    raise CommandError(message)


def publish(client: httpx.Client, name: str, version: str, module: bytes) -> tuple[Published, str]:
    """Publish a version; return it and in a word what came of that.

    The same module again is answered with what is there. Another one is refused, because versions never change: then
    what is there is returned, so that a demo after an edit of a spell's source goes on.
    """
    path = f"/v1/spells/dev/{name}/versions/{version}"
    answer = client.put(path, content=module, headers={"Content-Type": "application/wasm"})
    outcome = "published" if answer.status_code == HTTPStatus.CREATED else "there"
    if answer.status_code == HTTPStatus.CONFLICT:
        outcome = "another is there"
        answer = client.get(path)
    return msgspec.json.decode(accepted(answer).content, type=Published), outcome


def cast(client: httpx.Client, order: dict[str, Any]) -> Cast:
    """Cast and wait for the result. Raises CommandError when there is none, or it is not a success."""
    answer = accepted(client.post("/v1/cast", json=order, headers={**once(), "Prefer": "wait=60"}))
    return succeeded(answer.content)


def cast_batch(client: httpx.Client, orders: list[dict[str, Any]]) -> list[str]:
    """Submit casts in one request and return their ids. Raises CommandError when one was refused."""
    answer = accepted(client.post("/v1/casts/batch", json={"casts": orders}, headers=once()))
    verdicts = msgspec.json.decode(answer.content, type=_Batch).results
    for verdict in verdicts:
        if verdict.cast is None:
            message = f"a cast of the batch was refused with {verdict.status}: {verdict.error}"
            raise CommandError(message)
    return [verdict.cast.id for verdict in verdicts if verdict.cast is not None]


def open_casts(client: httpx.Client) -> int:
    """Return how many casts of the account are queued or running."""
    return msgspec.json.decode(accepted(client.get("/v1/holds", params={"limit": 1})).content, type=_Holds).open_casts


def casts_of(client: httpx.Client, ids: list[str]) -> list[Cast]:
    """Return these casts, page by page, the newest of the account. Raises CommandError unless all succeeded."""
    wanted, found, cursor = set(ids), dict[str, Cast](), None
    while wanted - found.keys():
        query = {"limit": "100", **({"cursor": cursor} if cursor else {})}
        page = msgspec.json.decode(accepted(client.get("/v1/casts", params=query)).content, type=_Page)
        found.update((cast.id, cast) for cast in page.data if cast.id in wanted)
        cursor = page.next_cursor
        if cursor is None:
            break
    failed = [found[one].status if one in found else "missing" for one in ids if one not in found]
    failed += [cast.status for cast in found.values() if cast.status != "succeeded"]
    if failed:
        message = f"{len(failed)} of {len(ids)} casts did not succeed, the first is {failed[0]}: look into the logs"
        raise CommandError(message)
    return list(found.values())


def succeeded(body: bytes) -> Cast:
    """Return the cast in an answer. Raises CommandError when it did not succeed."""
    result = msgspec.json.decode(body, type=Cast)
    if result.status != "succeeded":
        message = f"cast {result.id} is {result.status}: {result.error}; look at it with GET /v1/casts/{result.id}"
        raise CommandError(message)
    return result
