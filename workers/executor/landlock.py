"""Landlock: after `restrict`, the file system is one folder, read-only, and TCP, abstract sockets and signals end here.

It binds the calling thread and what it starts afterwards, so call it before any other thread exists.
"""

import ctypes
import errno
import os
import struct
from pathlib import Path
from typing import Final

# The same on every architecture.
_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_VERSION_FLAG: Final = 1
_RULE_PATH_BENEATH: Final = 1

_READ_FILE: Final = 1 << 2
# How many file rights each ABI version knows: 13 in the first, then refer, truncate, and in the fifth ioctl.
_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15}
_FILE_RIGHTS_SINCE_5: Final = 16
_NETWORK_SINCE: Final = 4
_NETWORK_RIGHTS: Final = 0b11
_SCOPES_SINCE: Final = 6
_SCOPES: Final = 0b11

_libc: Final = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {errno.errorcode.get(number, number)}")
    return result


def abi_version() -> int:
    """Return the version this kernel offers, or raise OSError when it offers none."""
    return _checked(_libc.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG), "landlock")


def restrict(readable_folder: Path | None) -> int:
    """Close everything but reading files under the folder; needs no_new_privs. Returns the ABI version used."""
    version = abi_version()
    rights = (1 << _FILE_RIGHTS.get(version, _FILE_RIGHTS_SINCE_5)) - 1
    network = _NETWORK_RIGHTS if version >= _NETWORK_SINCE else 0
    scopes = _SCOPES if version >= _SCOPES_SINCE else 0
    # An older kernel refuses a longer struct unless the rest is zero, which it then is.
    attributes = struct.pack("=QQQ", rights, network, scopes)
    ruleset = _checked(_libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0), "landlock ruleset")
    try:
        if readable_folder is not None:
            folder = os.open(readable_folder, os.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY)
            try:
                rule = struct.pack("=Qi", _READ_FILE, folder)
                _checked(_libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0), "landlock rule")
            finally:
                os.close(folder)
        _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock restriction")
    finally:
        os.close(ruleset)
    return version
