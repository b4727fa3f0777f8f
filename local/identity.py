"""Under which id a server may run that refuses root, without adding a user to the system."""

import os
import pwd
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local.folder import LocalServerError
from local.process import AS_IS, keeper_command, server_environment

# Systemd hands out this range for services without a user of their own; no distribution puts people in it.
SPARE_IDS: Final = range(61_184, 65_520)
# What the kernel shows for ids that a namespace does not map; better not to be mistaken for it.
_OVERFLOW_ID: Final = 65_534
_PROBE_SECONDS_MAX: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What the keeper is told about the id: once for `initdb`, and for every run of the server.

    They differ because `initdb` insists on an id with a name in the user database, and the server does not.
    """

    initialize: str
    run: str


def choose_identity(folder: Path, program: Path) -> Identity:
    """Return how the keeper runs `program` in `folder`: as we are, or for root in whichever way works here.

    Raises LocalServerError when no way works.
    """
    if os.geteuid() != 0 and os.geteuid() in _named_ids():
        return Identity(initialize=AS_IS, run=AS_IS)
    ways = [in_user_namespace()]
    if os.geteuid() == 0:
        ways.append(under_spare_id(folder))
    refusals: list[str] = []
    for way in ways:
        refusal = _refusal(way, folder, program)
        if refusal is None:
            return way
        refusals.append(refusal)
    message = (
        f"Postgres cannot run as user {os.geteuid()} here: start as an ordinary user, "
        f"or set DATABASE_URL to a server of yours. ({'; '.join(refusals)})"
    )
    raise LocalServerError(message)


def in_user_namespace() -> Identity:
    """Keep our id outside, and have an ordinary one with a name inside."""
    way = f"namespace:{_borrowed_id()}"
    return Identity(initialize=way, run=way)


def under_spare_id(folder: Path) -> Identity:
    """Run under an id nobody uses, or the one an earlier start gave the folder to. For root alone.

    Only `initdb`, half a second, borrows the id of a user that exists: it will not work without a name.
    """
    owner = folder.stat().st_uid
    spare = owner if owner in SPARE_IDS else _unused_id()
    return Identity(initialize=f"uid:{_borrowed_id()}", run=f"uid:{spare}")


def give_to(identity: str, folder: Path) -> None:
    """Make the folder and all in it belong to the id the program will run under, where that is not ours."""
    if os.geteuid() != 0:
        return
    owner = int(identity.removeprefix("uid:")) if identity.startswith("uid:") else 0
    if folder.stat().st_uid == owner:
        return
    # The folder itself last: should this be interrupted, the next start sees the old owner and does it all again.
    for path in [*folder.rglob("*"), folder]:
        os.chown(path, owner, owner, follow_symlinks=False)


def _refusal(way: Identity, folder: Path, program: Path) -> str | None:
    """Try the way with a program that only prints its version; return what was said against it."""
    probe = subprocess.run(  # noqa: S603 the command is ours, nothing in it comes from outside
        keeper_command(way.run, signal.SIGTERM, [str(program), "--version"]),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=folder,
        env=server_environment(),
        timeout=_PROBE_SECONDS_MAX,
        check=False,
    )
    return None if probe.returncode == 0 else " ".join(probe.stderr.decode("utf-8", "replace").split())


def _named_ids() -> set[int]:
    return {entry.pw_uid for entry in pwd.getpwall()}


def _borrowed_id() -> int:
    """Return the id of some user other than root: an ordinary one, or `nobody` when there is no other."""
    candidates = sorted(_named_ids() - {0}, key=lambda number: (number == _OVERFLOW_ID, number))
    if not candidates:
        message = "Postgres refuses to run as root, and this system knows no other user: set DATABASE_URL instead."
        raise LocalServerError(message)
    return candidates[0]


def _unused_id() -> int:
    taken = _named_ids() | _running_ids()
    return next(number for number in SPARE_IDS if number not in taken)


def _running_ids() -> set[int]:
    found: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            found.add(entry.stat().st_uid)
        except FileNotFoundError:
            continue  # it ended while we looked
    return found
