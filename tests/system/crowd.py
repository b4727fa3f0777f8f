"""One tenant with more casts in line than anybody serves, and what can be seen of the line."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from uuid import uuid4

import msgspec
from redis import Redis

from domain.model.admission import ON_WIRE_PER_ACCOUNT_MAX
from tests.api.platform import Account
from tests.stack import PATIENCE_SECONDS, Stack, until
from workers import keys

BATCH_CASTS = 1_000
FILLER_PIECE = 10_000
# A cast of somebody else waits behind what its tenant's neighbour has on the wire; the ledger may hold about as much
# unfinished again, and settles in batches. A queue without fair share would show thousands.
OVERTAKEN_BY_MAX = 4 * ON_WIRE_PER_ACCOUNT_MAX


class Neighbour(msgspec.Struct, frozen=True):
    """How one cast fared beside the crowd."""

    ended_before: int
    """How many of the crowd ended between its admission and its end."""
    ended_after: int


def queue(stack: Stack, crowd: Account, casts: int, spell: str = "dev/empty") -> None:
    """Put casts in line; every one of them must be accepted."""
    with stack.client(crowd) as http:
        for start in range(0, casts, BATCH_CASTS):
            count = min(BATCH_CASTS, casts - start)
            answer = http.post("/v1/casts/batch", json={"casts": [{"spell": spell}] * count})
            assert answer.status_code == 200, answer.text
            assert [result["status"] for result in answer.json()["results"]] == [202] * count


def on_wire(stack: Stack, crowd: Account) -> int:
    """Count the open casts that were put on the wire."""
    counted = (
        "SELECT count(*) FROM casts WHERE account_id = %(id)s AND on_wire AND pool = 'default'"
        " AND status IN ('queued', 'running')"
    )
    return stack.rows.execute(counted, {"id": crowd.id})[0][0]


def most_on_wire(stack: Stack, crowd: Account, *, seconds: float = PATIENCE_SECONDS) -> int:
    """Look at the wire until no cast is open, and return the most that were on it at a time."""
    most = 0

    def all_ended() -> bool:
        nonlocal most
        most = max(most, on_wire(stack, crowd))
        return stack.open_casts() == 0

    until(all_ended, "every cast has ended", seconds)
    return most


def waiting(stack: Stack, crowd: Account) -> int:
    """Count the casts that wait in Postgres for a place on the wire."""
    counted = "SELECT count(*) FROM casts WHERE account_id = %(id)s AND status = 'queued' AND NOT on_wire"
    return stack.rows.execute(counted, {"id": crowd.id})[0][0]


def beside(stack: Stack, crowd: Account, cast_id: str) -> Neighbour:
    """Tell who of the crowd ended when, after all have ended."""
    ((accepted_at, finished_at),) = stack.rows.execute(
        "SELECT accepted_at, finished_at FROM casts WHERE id = %(id)s", {"id": cast_id}
    )
    assert isinstance(finished_at, datetime), "it has ended"
    ((before, after),) = stack.rows.execute(
        "SELECT count(*) FILTER (WHERE finished_at BETWEEN %(from)s AND %(to)s),"
        " count(*) FILTER (WHERE finished_at > %(to)s) FROM casts WHERE account_id = %(id)s",
        {"id": crowd.id, "from": accepted_at, "to": finished_at},
    )
    return Neighbour(before, after)


def casts_of(stack: Stack, account: Account) -> int:
    return stack.rows.execute("SELECT count(*) FROM casts WHERE account_id = %(id)s", {"id": account.id})[0][0]


@contextmanager
def full_of_casts(redis: Redis, casts: int) -> Generator[None]:
    """Let the pool `default` hold that many casts of nobody we know, as if so many tenants were being served."""
    name = keys.open_set("default")
    fillers = [uuid4().bytes for _ in range(casts)]
    pieces = [fillers[start : start + FILLER_PIECE] for start in range(0, casts, FILLER_PIECE)]
    try:
        for piece in pieces:
            redis.sadd(name, *piece)
        yield
    finally:
        for piece in pieces:
            redis.srem(name, *piece)


@contextmanager
def full_of_bytes(redis: Redis) -> Generator[None]:
    """Leave Redis twice the memory it uses: past the share of admission, short of where workers stop to read."""
    before = redis.config_get("maxmemory")["maxmemory"]
    try:
        redis.config_set("maxmemory", 2 * redis.info("memory")["used_memory"])
        yield
    finally:
        redis.config_set("maxmemory", before)
