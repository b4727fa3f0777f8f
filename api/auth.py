"""Who is calling: API keys as Bearer tokens, verified once per process and then recognised by one dict lookup."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final, Literal, TypeVar
from uuid import UUID

import argon2
import msgspec

from api.budgets.board import BudgetBoard
from api.coalesce import Coalesced
from api.errors import overloaded
from domain.model.api_key import mode_of, prefix_of
from domain.model.errors import Code, Refusal, RefusedError, refuse
from domain.model.key_rules import ACCOUNT_SCOPES
from domain.model.modes import Mode
from domain.store.connection import Pool, statement
from domain.store.identity import keys_use
from domain.store.principals import KeyOwner, principals_by_prefix

# A read may trust what was looked up this long ago; casts ask again under the account's lock.
FRESH_S: Final = 1.0
# Keys in use are looked up again twice in that time, so that no request of a busy key waits for a lookup.
REFRESH_EVERY_S: Final = 0.4
# About 1 KiB each: a process remembers this many keys at a time; a forgotten one costs another verification.
KNOWN_KEYS_MAX: Final = 10_000
# Wrong keys are remembered shortly, so that repeating one costs a lookup in a dict.
WRONG_KEYS_MAX: Final = 10_000
WRONG_KEY_S: Final = 1.0
# Two threads verify, and this many may wait for them: at a millisecond each the last waits for a sixteenth of a
# second. Beyond it callers with unknown keys get 503; known keys do not come here.
VERIFY_THREADS: Final = 2
VERIFY_WAITING_MAX: Final = 128
PREFIXES_PER_LOOKUP_MAX: Final = 1_000
# When a key was last used is written once in this time; a key used for the first time shows it within NOTE_EVERY_S.
USE_WRITTEN_EVERY_S: Final = 60.0
NOTE_EVERY_S: Final = 5.0

# Argon2id exists to make guessable secrets expensive to guess. The secret of a key is 190 random bits: nobody guesses
# it at any speed, so the parameters are small on purpose, about a millisecond, and an api process that starts under
# load with thousands of keys is not busy hashing. What the hash gives is that a stolen table holds no usable key.
_HASHER: Final = argon2.PasswordHasher(time_cost=1, memory_cost=2048, parallelism=1, hash_len=32, salt_len=16)

_Value = TypeVar("_Value")

_BEARER: Final = "bearer "


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """On whose behalf a request is made."""

    account_id: UUID
    key_id: UUID | None
    """None for a session."""
    scopes: frozenset[str]
    rate_limit_rpm: int
    handle: str
    key_prefix: str | None = None
    """Of the very secret that was sent; None for a session."""
    allowed_origins: frozenset[str] = frozenset()
    """Of the web pages that may use the key; empty: all."""
    superseded: bool = False
    """The secret was rotated away and is in its grace."""
    user_id: UUID | None = None
    """The person behind a session; None for a key."""
    session_id: UUID | None = None
    role: Literal["user", "admin"] = "user"
    """Of that person; a key is nobody's role."""
    test: bool = False
    """A test key: it casts for no money, and sees test casts alone."""

    @property
    def budgeted_id(self) -> UUID:
        """Under which id the board of budgets has this caller."""
        return self.key_id or self.account_id

    def may(self, scope: str) -> bool:
        """Tell whether this is a key with `scope`, or a session and `scope` concerns its own account alone."""
        return scope in self.scopes or (self.key_id is None and scope in ACCOUNT_SCOPES)

    def require(self, scope: str) -> None:
        """Raise RefusedError (403) unless this caller `may`."""
        if not self.may(scope):
            raise refuse(Code.FORBIDDEN, f"This key lacks the scope '{scope}'. Use a key that has it, or a session.")

    def require_current(self) -> None:
        """Raise RefusedError (403) for a secret in its grace: what it made would outlive it."""
        if self.superseded:
            raise refuse(Code.FORBIDDEN, "This secret was rotated and is in its grace. Use the new one.")


def hash_key(text: str) -> str:
    """Return what is stored of a new key: Argon2id over its whole text."""
    return _HASHER.hash(text)


def key_matches(secret_hash: str, text: str) -> bool:
    """Tell whether `text` is the key this is stored of. Argon2 gives up Python's lock while it works."""
    try:
        return _HASHER.verify(secret_hash, text)
    except (argon2.exceptions.VerifyMismatchError, argon2.exceptions.InvalidHashError):
        return False


class _Known:
    """A key that was verified, and what it stood for when it was last looked up."""

    __slots__ = ("checked_at", "owner", "principal", "used")

    def __init__(self, owner: KeyOwner, principal: Principal, checked_at: float) -> None:
        self.owner = owner
        self.principal = principal
        self.checked_at = checked_at
        self.used = True


class Authenticator:
    """Recognises callers. `clock` counts seconds and never goes back; `rpm_default` applies to keys without a rate.

    Each look-up tells `board` how the budgets of the key stand.
    """

    def __init__(self, engine_pool: Pool, *, clock: Callable[[], float], rpm_default: int, board: BudgetBoard) -> None:
        self._pool = engine_pool
        self._board = board
        self._clock = clock
        self._rpm_default = rpm_default
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._wrong: OrderedDict[bytes, float] = OrderedDict()
        self._verifying: dict[bytes, asyncio.Task[_Known]] = {}
        self._used_at: dict[UUID, float] = {}  # not written yet
        self._written_at: dict[UUID, float] = {}
        self.hashed = 0
        """How often a key was verified with Argon2."""
        self._threads = ThreadPoolExecutor(VERIFY_THREADS, thread_name_prefix="argon2")
        self._owners: Coalesced[str, KeyOwner] = Coalesced(self._look_up, keys_max=PREFIXES_PER_LOOKUP_MAX)

    async def identify(self, authorization: bytes, *, unknown: Callable[[], None] | None = None) -> Principal:
        """Return who sends this Authorization header. No I/O when the key was used within the last second.

        `unknown` is called before anything is looked up or hashed for a key this process has not met, and may raise.
        Raises RefusedError: 401 for anything that is no living key, 403 for a suspended account, 503 when too many
        unknown keys wait to be verified; StoreError when Postgres does not answer.
        """
        principal = self.recognise(authorization)
        if principal is not None:
            return principal
        digest = hashlib.sha256(authorization).digest()
        known = self._known.get(digest)
        if known is None:
            if unknown is not None:
                unknown()
            known = await self._first_time(digest, authorization)
        else:
            known = await self._look_again(digest, known)
        known.used = True
        return known.principal

    def recognise(self, authorization: bytes) -> Principal | None:
        """Return who sends this header where that takes no I/O; None: `identify` may know."""
        known = self._known.get(hashlib.sha256(authorization).digest())
        if known is None or self._clock() - known.checked_at > FRESH_S:
            return None
        known.used = True
        return known.principal

    async def refresh(self) -> int:
        """Look up again the keys used since the last refresh, in one query; return how many."""
        used = [(digest, known) for digest, known in self._known.items() if known.used]
        if not used:
            return 0
        asked_at = self._clock()
        owners = await self._look_up([known.owner.prefix for _, known in used])
        for digest, known in used:
            known.used = False
            self._used_at[known.owner.key_id] = asked_at
            self._renew(digest, known, owners.get(known.owner.prefix), asked_at)
        return len(used)

    async def note_uses(self, now: datetime) -> int:
        """Write when keys were last used, in one statement, each at most once a minute; return how many were due."""
        clock = self._clock()
        self._written_at = {key: at for key, at in self._written_at.items() if clock - at < USE_WRITTEN_EVERY_S}
        due = {key: at for key, at in self._used_at.items() if key not in self._written_at}
        if not due:
            return 0
        used = {key: now - timedelta(seconds=clock - at) for key, at in due.items()}
        async with statement(self._pool) as connection:
            written = await keys_use(connection, used=used)
        for key in written:
            self._written_at[key] = clock
        for key, at in due.items():
            # What another process wrote within the minute, or a batch of casts held, is due again the next time.
            if self._used_at[key] == at and key in written:
                del self._used_at[key]
        return len(due)

    def close(self) -> None:
        """Stop the verifying threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _look_up(self, prefixes: list[str]) -> dict[str, KeyOwner]:
        async with statement(self._pool) as connection:
            return await principals_by_prefix(connection, prefixes=prefixes)

    async def _look_again(self, digest: bytes, known: _Known) -> _Known:
        asked_at = self._clock()
        owner = await self._owners.get(known.owner.prefix)
        if not self._renew(digest, known, owner, asked_at):
            raise RefusedError(_why_not(owner))
        return known

    def _renew(self, digest: bytes, known: _Known, owner: KeyOwner | None, asked_at: float) -> bool:
        """Take over what was looked up, or forget a key that is dead, suspended or has another secret by now."""
        if owner is None or not owner.alive or not owner.active or owner.secret_hash != known.owner.secret_hash:
            self._known.pop(digest, None)
            return False
        if owner != known.owner:
            known.owner, known.principal = owner, self._principal(owner)
        known.checked_at = asked_at
        self._tell(known)
        self._known.move_to_end(digest)
        return True

    async def _first_time(self, digest: bytes, authorization: bytes) -> _Known:
        text = _token(authorization)
        prefix = prefix_of(text)
        if prefix is None:
            raise RefusedError(_NO_KEY)
        wrong_until = self._wrong.get(digest)
        if wrong_until is not None and self._clock() < wrong_until:
            raise RefusedError(_WRONG_KEY)
        task = self._verifying.get(digest)
        if task is None:
            if len(self._verifying) >= VERIFY_WAITING_MAX:
                raise RefusedError(overloaded("Too many unknown keys wait to be verified. Try again."))
            task = self._verifying[digest] = asyncio.create_task(self._verify(digest, text, prefix))
            task.add_done_callback(lambda done: self._verified(digest, done))
        return await asyncio.shield(task)

    def _verified(self, digest: bytes, task: asyncio.Task[_Known]) -> None:
        del self._verifying[digest]
        if not task.cancelled():
            task.exception()  # its callers have it; without one it is nobody's

    async def _verify(self, digest: bytes, text: str, prefix: str) -> _Known:
        asked_at = self._clock()
        owner = await self._owners.get(prefix)
        self.hashed += owner is not None
        right = owner is not None and await asyncio.get_running_loop().run_in_executor(
            self._threads, key_matches, owner.secret_hash, text
        )
        if owner is None or not right:
            _remember(self._wrong, digest, self._clock() + WRONG_KEY_S, WRONG_KEYS_MAX)
            raise RefusedError(_WRONG_KEY)
        if not owner.alive or not owner.active:
            raise RefusedError(_why_not(owner))
        known = _Known(owner, self._principal(owner), asked_at)
        self._tell(known)
        _remember(self._known, digest, known, KNOWN_KEYS_MAX)
        return known

    def _tell(self, known: _Known) -> None:
        if not known.principal.test:  # its casts move no money, so that no budget binds it
            self._board.learn(known.owner.key_id, known.owner.budgets, asked_at=known.checked_at)

    def _principal(self, owner: KeyOwner) -> Principal:
        return Principal(
            account_id=owner.account_id,
            key_id=owner.key_id,
            scopes=owner.scopes,
            rate_limit_rpm=self._rpm_default if owner.rate_limit_rpm is None else owner.rate_limit_rpm,
            handle=owner.handle,
            key_prefix=owner.prefix,
            allowed_origins=owner.allowed_origins,
            superseded=owner.superseded,
            test=mode_of(owner.prefix) is Mode.TEST,
        )


_NO_KEY: Final = Refusal(
    code=Code.UNAUTHORIZED, detail="Send `Authorization: Bearer <API key>`. What was sent is no API key, or mistyped."
)
_WRONG_KEY: Final = Refusal(code=Code.UNAUTHORIZED, detail="This API key does not exist. Make a new one.")
_DEAD_KEY: Final = Refusal(code=Code.UNAUTHORIZED, detail="This API key is revoked or has expired. Make a new one.")
_SUSPENDED: Final = Refusal(code=Code.FORBIDDEN, detail="This account is suspended. Contact the operator.")


def _why_not(owner: KeyOwner | None) -> Refusal:
    return _SUSPENDED if owner is not None and owner.alive and not owner.active else _DEAD_KEY


def _token(authorization: bytes) -> str:
    text = authorization.decode("latin-1")
    return text[len(_BEARER) :].strip() if text[: len(_BEARER)].lower() == _BEARER else ""


def _remember(memory: OrderedDict[bytes, _Value], digest: bytes, value: _Value, count_max: int) -> None:
    memory[digest] = value
    if len(memory) > count_max:
        memory.popitem(last=False)
