"""The Lua scripts of the wire, loaded once; each script's first lines say its keys, arguments and answer."""

import hashlib
from importlib import resources
from typing import Final

import msgspec


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """A Lua script and the digest Redis knows it by."""

    text: bytes
    sha: str


def _load(name: str) -> Script:
    text = resources.files(__name__).joinpath(f"{name}.lua").read_bytes()
    return Script(text=text, sha=hashlib.sha1(text, usedforsecurity=False).hexdigest())


ALIVE: Final = _load("alive")
DELAY: Final = _load("delay")
DUE: Final = _load("due")
PRUNE: Final = _load("prune")
PUT: Final = _load("put")
RENEW: Final = _load("renew")
REQUEUE: Final = _load("requeue")
START: Final = _load("start")
