"""What the stand-in remembers: objects, keys, jobs, deliveries and a few facts, in one SQLite file.

One connection, used by one thread at a time: `World.lock` sees to that.
"""

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

# An object is a tree of JSON in Stripe's own shape; names that begin with "_" are ours and never leave.
Body = dict[str, Any]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS objects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, owner TEXT, parent TEXT,
    created INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS objects_of_kind ON objects (kind, seq);
CREATE INDEX IF NOT EXISTS objects_of_owner ON objects (kind, owner, seq);
CREATE INDEX IF NOT EXISTS objects_of_parent ON objects (kind, parent, seq);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, route TEXT NOT NULL, fingerprint TEXT NOT NULL, status INTEGER NOT NULL, body BLOB NOT NULL,
    at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, verb TEXT NOT NULL, ref TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS jobs_due ON jobs (at, seq);
CREATE TABLE IF NOT EXISTS deliveries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL, at REAL NOT NULL, attempts INTEGER NOT NULL,
    state TEXT NOT NULL, answer TEXT);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (state, at);
CREATE INDEX IF NOT EXISTS deliveries_of_event ON deliveries (event);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_OF_KIND: Final = (
    "SELECT seq, id, body FROM objects WHERE kind = :kind AND seq < :before ORDER BY seq DESC LIMIT :limit"
)
_OF_OWNER: Final = (
    "SELECT seq, id, body FROM objects WHERE kind = :kind AND owner = :owner AND seq < :before "
    "ORDER BY seq DESC LIMIT :limit"
)
_OF_PARENT: Final = (
    "SELECT seq, id, body FROM objects WHERE kind = :kind AND parent = :parent AND seq < :before "
    "ORDER BY seq DESC LIMIT :limit"
)
_INSERT: Final = "INSERT INTO objects (id, kind, owner, parent, created, body) VALUES (?, ?, ?, ?, ?, ?)"
_UPDATE: Final = "UPDATE objects SET owner = ?, parent = ?, body = ? WHERE id = ?"
_DUE: Final = (
    "SELECT seq, event, at, attempts, state, answer FROM deliveries WHERE state = 'waiting' AND at <= ? "
    "ORDER BY at, seq LIMIT ?"
)
_DELIVERIES_OF: Final = "SELECT seq, event, at, attempts, state, answer FROM deliveries WHERE event = ? ORDER BY seq"
_SEQUENCE_END: Final = 2**62
# Most look at the newest few; who looks at all reads so many at a time.
_READ_AT_ONCE: Final = 100

# By which field objects of a kind are looked up, where it is not `customer`; and by which other one.
_OWNER: Final = {
    "line_item": "invoice",
    "transfer": "destination",
    "event": "type",
    "transfer_reversal": "transfer",
    "price": "product",
}
_PARENT: Final = {
    "charge": "payment_intent",
    "refund": "charge",
    "dispute": "charge",
    "invoiceitem": "invoice",
    "invoice_payment": "invoice",
    "credit_note": "invoice",
    "invoice": "_subscription",
    "balance_transaction": "source",
    "transfer": "transfer_group",
    "checkout.session": "payment_intent",
}
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Body).decode


# The states of a delivery: it is tried when it is due; somebody sends it just now; it is over.
WAITING: Final = "waiting"
BY_HAND: Final = "by_hand"
ACCEPTED: Final = "accepted"
GIVEN_UP: Final = "given_up"


class Job(NamedTuple):
    """Something that the clock does at its time."""

    seq: int
    at: int
    verb: str
    ref: str


class Delivery(NamedTuple):
    """One sending of an event to the webhook, tried until it is accepted."""

    seq: int
    event: str
    at: float
    """When it is tried (next), on the machine's clock."""
    attempts: int
    state: str
    """waiting, by_hand, accepted or given_up."""
    answer: str | None
    """What became of the last attempt."""


class Answer(NamedTuple):
    """What a request with an idempotency key was answered."""

    route: str
    fingerprint: str
    status: int
    body: bytes
    at: int


class Store:
    """The file. Every change happens inside `transaction`."""

    def __init__(self, file: Path) -> None:
        """Open `file`, made when missing."""
        self._connection: Final = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        # A stand-in may forget its last moments when the machine loses power, never when its process is killed.
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.executescript(_SCHEMA)
        file.chmod(0o600)
        self._depth = 0
        self._loaded: Final[dict[str, Body]] = {}

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Keep what happens inside, or nothing of it; an inner one is part of the outer one.

        Inside, each object is one and the same however often it is looked up.
        """
        self._depth += 1
        if self._depth > 1:
            try:
                yield
            finally:
                self._depth -= 1
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException as error:
            self._connection.execute("COMMIT" if getattr(error, "keeps_work", False) else "ROLLBACK")
            raise
        else:
            self._connection.execute("COMMIT")
        finally:
            self._depth -= 1
            self._loaded.clear()

    @contextmanager
    def step(self) -> Generator[None]:
        """Keep what happens inside, or undo it alone and go on; an error whose work is kept undoes nothing."""
        assert self._depth > 0, "a step is part of a transaction"
        self._connection.execute("SAVEPOINT step")
        try:
            yield
        except BaseException as error:
            if not getattr(error, "keeps_work", False):
                self._connection.execute("ROLLBACK TO step")
                self._loaded.clear()
            raise
        finally:
            self._connection.execute("RELEASE step")

    def insert(self, body: Body) -> None:
        """Keep a new object."""
        kind = body["object"]
        row = (body["id"], kind, _owner(kind, body), _parent(kind, body), body.get("created", 0), _encode(body))
        self._connection.execute(_INSERT, row)
        self._loaded[body["id"]] = body

    def update(self, body: Body) -> None:
        """Keep an object as it is now."""
        kind = body["object"]
        done = self._connection.execute(_UPDATE, (_owner(kind, body), _parent(kind, body), _encode(body), body["id"]))
        assert done.rowcount == 1, f"{body['id']} was never inserted"
        self._loaded[body["id"]] = body

    def delete(self, identifier: str) -> None:
        """Forget an object."""
        self._connection.execute("DELETE FROM objects WHERE id = ?", (identifier,))
        self._loaded.pop(identifier, None)

    def find(self, identifier: str) -> Body | None:
        """Return an object, or None."""
        assert self._depth > 0, "objects are looked at inside a transaction"
        if identifier in self._loaded:
            return self._loaded[identifier]
        row = self._connection.execute("SELECT body FROM objects WHERE id = ?", (identifier,)).fetchone()
        return None if row is None else self._load(identifier, row[0])

    def newest_first(self, kind: str, *, owner: str | None = None, parent: str | None = None) -> Iterator[Body]:
        """Yield the objects of a kind: all, or those of an owner or a parent. They may be changed meanwhile."""
        query = _OF_OWNER if owner is not None else _OF_PARENT if parent is not None else _OF_KIND
        before = _SEQUENCE_END
        while True:
            names = {"kind": kind, "owner": owner, "parent": parent, "before": before, "limit": _READ_AT_ONCE}
            rows = self._connection.execute(query, names).fetchall()
            for _, identifier, body in rows:
                yield self._loaded.get(identifier) or self._load(identifier, body)
            if len(rows) < _READ_AT_ONCE:
                return
            before = rows[-1][0]

    def _load(self, identifier: str, encoded: bytes) -> Body:
        body = self._loaded[identifier] = _decode(encoded)
        return body

    def answer(self, key: str) -> Answer | None:
        """Return what a key was answered, or None."""
        row = self._connection.execute(
            "SELECT route, fingerprint, status, body, at FROM answers WHERE key = ?", (key,)
        ).fetchone()
        return None if row is None else Answer(*row)

    def keep_answer(self, key: str, answer: Answer) -> None:
        """Remember what a key was answered."""
        self._connection.execute(
            "INSERT OR REPLACE INTO answers (key, route, fingerprint, status, body, at) VALUES (?, ?, ?, ?, ?, ?)",
            (key, *answer),
        )

    def forget_answers(self, before: int) -> None:
        """Forget the keys of before a time."""
        self._connection.execute("DELETE FROM answers WHERE at <= ?", (before,))

    def add_job(self, at: int, verb: str, ref: str) -> None:
        """Plan something."""
        self._connection.execute("INSERT INTO jobs (at, verb, ref) VALUES (?, ?, ?)", (at, verb, ref))

    def next_job(self) -> Job | None:
        """Return what is planned first."""
        row = self._connection.execute("SELECT seq, at, verb, ref FROM jobs ORDER BY at, seq LIMIT 1").fetchone()
        return None if row is None else Job(*row)

    def jobs(self) -> list[Job]:
        """Return everything that is planned, in order."""
        return [Job(*row) for row in self._connection.execute("SELECT seq, at, verb, ref FROM jobs ORDER BY at, seq")]

    def remove_job(self, seq: int) -> None:
        """Strike out a job."""
        self._connection.execute("DELETE FROM jobs WHERE seq = ?", (seq,))

    def remove_jobs(self, verb: str, ref: str) -> None:
        """Strike out what is planned for an object."""
        self._connection.execute("DELETE FROM jobs WHERE verb = ? AND ref = ?", (verb, ref))

    def add_delivery(self, event: str, at: float, state: str = WAITING) -> int:
        """Plan a sending; return its number."""
        cursor = self._connection.execute(
            "INSERT INTO deliveries (event, at, attempts, state) VALUES (?, ?, 0, ?)", (event, at, state)
        )
        assert cursor.lastrowid is not None, "a row was inserted"
        return cursor.lastrowid

    def update_delivery(self, seq: int, *, at: float, attempts: int, state: str, answer: str) -> None:
        """Write down an attempt."""
        self._connection.execute(
            "UPDATE deliveries SET at = ?, attempts = ?, state = ?, answer = ? WHERE seq = ?",
            (at, attempts, state, answer, seq),
        )

    def due_deliveries(self, now: float, limit: int) -> list[Delivery]:
        """Return what is to be sent now, the oldest first."""
        return [Delivery(*row) for row in self._connection.execute(_DUE, (now, limit))]

    def deliveries_of(self, event: str) -> list[Delivery]:
        """Return the sendings of an event."""
        return [Delivery(*row) for row in self._connection.execute(_DELIVERIES_OF, (event,))]

    def next_delivery_at(self) -> float | None:
        """Return when something is to be sent next, or None."""
        row = self._connection.execute("SELECT min(at) FROM deliveries WHERE state = 'waiting'").fetchone()
        return row[0]

    def deliveries_waiting(self) -> int:
        """Return how many sendings have not been accepted yet."""
        return self._connection.execute("SELECT count(*) FROM deliveries WHERE state = 'waiting'").fetchone()[0]

    def fact(self, name: str) -> str | None:
        """Return a fact, or None."""
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def set_fact(self, name: str, value: str) -> None:
        """Remember a fact."""
        self._connection.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))


def _owner(kind: str, body: Body) -> str | None:
    return body.get(_OWNER.get(kind, "customer"))


def _parent(kind: str, body: Body) -> str | None:
    return body.get(_PARENT[kind]) if kind in _PARENT else None
