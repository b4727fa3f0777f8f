"""Who is calling with a session: looked up by the hash of its token, and believed for a second."""

from collections import OrderedDict
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from api.auth import FRESH_S, USE_WRITTEN_EVERY_S, Principal
from api.budgets.board import BudgetBoard
from api.coalesce import Coalesced
from domain.model.errors import Code, Refusal, RefusedError
from domain.model.session import TOKEN_PREFIX, hash_of_token, is_token
from domain.store.connection import Pool, statement, transaction
from domain.store.sessions import SessionOwner, sessions_by_hash, sessions_use

# About 1 KiB each; a forgotten one costs a lookup by key.
KNOWN_SESSIONS_MAX: Final = 10_000
HASHES_PER_LOOKUP_MAX: Final = 1_000

_BEARER: Final = f"bearer {TOKEN_PREFIX}".encode()
_DEAD: Final = Refusal(code=Code.UNAUTHORIZED, detail="This session has ended or expired. Sign in again.")
_SUSPENDED: Final = Refusal(code=Code.FORBIDDEN, detail="This account is suspended. Contact the operator.")


def session_token(authorization: bytes | None) -> str | None:
    """Return what a Bearer header holds when it begins as a session's token does; None for keys and anything else."""
    if authorization is None or authorization[: len(_BEARER)].lower() != _BEARER:
        return None
    return authorization[len(_BEARER) - len(TOKEN_PREFIX) :].decode("latin-1")


class Sessions:
    """Recognises sessions. `clock` counts seconds and never goes back; `rpm` is the rate of an account's sessions.

    Each look-up tells `board` how the budgets of the account stand.
    """

    def __init__(self, engine_pool: Pool, *, clock: Callable[[], float], rpm: int, board: BudgetBoard) -> None:
        self._board = board
        self._pool = engine_pool
        self._clock = clock
        self._rpm = rpm
        self._known: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        self._used_at: dict[UUID, float] = {}  # not written yet
        self._written_at: dict[UUID, float] = {}
        self._owners: Coalesced[bytes, SessionOwner] = Coalesced(self._look_up, keys_max=HASHES_PER_LOOKUP_MAX)

    async def identify(self, token: str, *, fresh: bool, unknown: Callable[[], None] | None = None) -> Principal:
        """Return whose token this is; no I/O when it was looked up within the last second, unless `fresh`.

        `unknown` is called before a token this process has not met is looked up, and may raise.
        Raises RefusedError: 401 for anything that is no living session, 403 for a suspended account; StoreError.
        """
        if not is_token(token):
            raise RefusedError(_DEAD)
        hashed = hash_of_token(token)
        known = self._known.get(hashed)
        if known is None and unknown is not None:
            unknown()
        if known is None or fresh or self._clock() - known[0] > FRESH_S:
            known = await self._look(hashed)
        session_id = known[1].session_id
        assert session_id is not None
        self._used_at[session_id] = self._clock()
        return known[1]

    def forget(self, ended: Collection[UUID]) -> None:
        """Stop believing in sessions that ended just now; other processes do within the second."""
        for hashed, (_, principal) in list(self._known.items()):
            if principal.session_id in ended:
                del self._known[hashed]

    async def note_uses(self, now: datetime) -> int:
        """Write when sessions were last used, in one statement, each at most once a minute; return how many."""
        clock = self._clock()
        self._written_at = {ours: at for ours, at in self._written_at.items() if clock - at < USE_WRITTEN_EVERY_S}
        due = {ours: at for ours, at in self._used_at.items() if ours not in self._written_at}
        if not due:
            return 0
        used = {ours: now - timedelta(seconds=clock - at) for ours, at in due.items()}
        async with transaction(self._pool) as connection:
            written = await sessions_use(connection, used=used)
        for ours, at in due.items():
            # What another process wrote within the minute, or somebody holds, is due again the next time it is used.
            if ours in written:
                self._written_at[ours] = clock
            if self._used_at[ours] == at:
                del self._used_at[ours]
        return len(due)

    async def _look_up(self, hashes: list[bytes]) -> dict[bytes, SessionOwner]:
        async with statement(self._pool) as connection:
            return await sessions_by_hash(connection, hashes=hashes)

    async def _look(self, hashed: bytes) -> tuple[float, Principal]:
        asked_at = self._clock()
        owner = await self._owners.get(hashed)
        if owner is None or not owner.alive or not owner.active:
            self._known.pop(hashed, None)
            raise RefusedError(_SUSPENDED if owner is not None and owner.alive else _DEAD)
        self._board.learn(owner.account_id, owner.budgets, asked_at=asked_at)
        known = self._known[hashed] = (asked_at, self._principal(owner))
        self._known.move_to_end(hashed)
        if len(self._known) > KNOWN_SESSIONS_MAX:
            self._known.popitem(last=False)
        return known

    def _principal(self, owner: SessionOwner) -> Principal:
        return Principal(
            account_id=owner.account_id,
            key_id=None,
            scopes=frozenset(),
            rate_limit_rpm=self._rpm,
            handle=owner.handle,
            user_id=owner.user_id,
            session_id=owner.session_id,
            role="admin" if owner.role == "admin" else "user",
        )
