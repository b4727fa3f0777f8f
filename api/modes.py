"""Which casts a list, a sum or a file is about: those of live keys and sessions, or those of test keys, never both."""

from api.auth import Principal
from domain.model.errors import Code, refuse
from domain.model.modes import Mode


def seen_mode(principal: Principal, asked: Mode | None) -> Mode:
    """Return the mode of what is shown: a test key's own, for others live unless they ask for `test`.

    Raises RefusedError (403) where a test key asks for what is live.
    """
    if not principal.test:
        return asked or Mode.LIVE
    if asked is Mode.LIVE:
        raise refuse(Code.FORBIDDEN, "A test key sees test casts alone. Use a live key, or sign in.")
    return Mode.TEST
