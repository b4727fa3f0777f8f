"""Who may use a route: declared once, beside its path, and checked before its handler runs.

A closed route of Litestar says `access=...` in its decorator; `api.guard` refuses to serve one that says nothing. The
raw cast routes say it in their table of methods. `tests/api/test_access.py` asks every route as everybody.
"""

from typing import Final

import msgspec

from api.auth import Principal
from domain.model.errors import Code, refuse
from domain.model.key_rules import ACCOUNT_SCOPES


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller needs. A session has every power over its own account, and none over others."""

    scopes: frozenset[str] = frozenset()
    """A key needs one of these; empty: any living key will do."""
    keys: bool = True
    """Whether keys may at all."""
    test_keys: bool = False
    """Whether test keys may, as far as their scopes go. Where nothing is said, they open nothing."""

    def check(self, principal: Principal) -> None:
        """Raise RefusedError (403) unless `principal` may."""
        if principal.key_id is None:
            if self.scopes and not self.scopes & ACCOUNT_SCOPES:
                raise refuse(Code.FORBIDDEN, f"Only a key with the scope {_words(self.scopes)} may do this.")
        elif not self.keys:
            raise refuse(Code.FORBIDDEN, "An API key cannot do this. Sign in, and use the session.")
        elif principal.test and not self.test_keys:
            raise refuse(Code.FORBIDDEN, "A test key casts and sees test casts. Use a live key for this, or sign in.")
        elif self.scopes and not self.scopes & principal.scopes:
            detail = f"This key lacks the scope {_words(self.scopes)}. Use a key that has it, or a session."
            raise refuse(Code.FORBIDDEN, detail)


def needs(*scopes: str, test_keys: bool = False) -> Access:
    """Return the access of a session, or of a key that has one of `scopes`."""
    assert scopes, "say ANY_KEY for a route that asks for none"
    return Access(scopes=frozenset(scopes), test_keys=test_keys)


def _words(scopes: frozenset[str]) -> str:
    return " or ".join(f"'{scope}'" for scope in sorted(scopes))


ANY_KEY: Final = Access()
ANY_KEY_OF_ANY_MODE: Final = Access(test_keys=True)
SESSION_ONLY: Final = Access(keys=False)
