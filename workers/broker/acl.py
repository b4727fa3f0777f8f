"""The Redis users of the platform, shipped as `workers/redis.acl` with a placeholder for each password's digest.

`api` adds casts and asks; the scheduler shares it. `ledger` reads usage and may put the next cast of an account.
A worker sees its own pool alone and never the open set. No user has FLUSHALL, CONFIG, KEYS or SCAN. For every key of a
command the server tries one pattern after the other, so those asked for most come first.
"""

import hashlib
from collections.abc import Mapping
from importlib import resources


def redis_acl(passwords: Mapping[str, str]) -> str:
    """Return the contents of an `aclfile` for Redis 6.2 or newer; `passwords` maps each user's name to its password.

    Raises KeyError with the user's name when one has no password.
    """
    text = resources.files("workers").joinpath("redis.acl").read_text()
    for line in text.splitlines():
        _, name, *_ = line.split()
        if name == "default":
            continue
        placeholder = f"#{name.upper().replace('-', '_')}_PASSWORD_SHA256"
        assert placeholder in line, f"User {name} has no placeholder for its password."
        text = text.replace(placeholder, "#" + hashlib.sha256(passwords[name].encode()).hexdigest())
    return text
