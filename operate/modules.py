"""The operator's own spells: the folder WASM_MODULE_PATH is published under the platform's account `local`.

Also brings every published module to the engine of this version. Both run at release and may run twice.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec

from api.spells.publishing import Publisher, Upload
from domain.flow.create_user import PLATFORM_HANDLE, ensure_platform_account
from domain.model.audit import OPERATOR
from domain.model.errors import RefusedError
from domain.model.limits import MODULE_BYTES_MAX, RUNTIME_MODULE_BYTES_MAX
from domain.model.manifest import manifest_text, parse_manifest
from domain.model.spell_ref import is_spell_name
from domain.model.versions import Version, VersionRange, highest, parse
from domain.store import blobs, spells
from domain.store.connection import Pool, transaction

FIRST_VERSION: Final = Version(major=1, minor=0, patch=0)
# Digests read at a time while looking for modules the engine of this version has not compiled.
PAGE: Final = 100

# The least module that may be published: a memory and an empty `_start`. What it compiles to names the engine.
_PROBE: Final = bytes.fromhex(
    "0061736d01000000"  # magic and version
    "010401600000"  # one type: no parameters, no results
    "03020100"  # one function of it
    "0503010001"  # one memory, of a page
    "071302066d656d6f72790200065f73746172740000"  # exports: memory, _start
    "0a040102000b"  # its body: end
)

Report = Callable[[str], None]


class _Module(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the folder, read whole; `manifest` is the file `<name>.json` beside it."""

    name: str
    content: bytes
    manifest: bytes | None


async def publish_folder(pool: Pool, publisher: Publisher, folder: Path, *, now: datetime, report: Report) -> int:
    """Publish each `<name>.wasm` of `folder` as `local/<name>`, and return how many versions are new.

    A file that changed becomes the next patch version; one that did not is left alone. One that cannot be published
    is reported in a line that names it, and stops nobody else. A missing folder is an empty one.
    `pool` is of Role.ENGINE. Raises StoreError.
    """
    files = _files(folder)
    if not files:
        return 0
    async with transaction(pool) as connection:
        account = await ensure_platform_account(connection, account_id=uuid4(), now=now)
    made = 0
    for path in files:
        try:
            module = _read(path)
            version = await _next_version(pool, module)
            if version is None:
                continue
            publication = await publisher.publish(
                Upload(
                    account_id=account.id,
                    owner=PLATFORM_HANDLE,
                    name=module.name,
                    version=version,
                    module=module.content,
                    manifest=module.manifest,
                    runtime=len(module.content) > MODULE_BYTES_MAX,
                    numbered_by_us=True,
                    actor=OPERATOR,
                )
            )
        except RefusedError as error:
            report(f"warning: {path} was not published: {error.refusal.detail}")
        except (OSError, _UnusableFileError) as error:
            report(f"warning: {path} was not published: {error}")
        else:
            made += publication.made
            report(f"modules: {PLATFORM_HANDLE}/{module.name}@{version} from {path}")
    return made


async def recompile(pool: Pool, publisher: Publisher, *, report: Report) -> int:
    """Compile every published module that has no artifact for the engine of this version; return how many.

    A module that no longer compiles is reported and left: its casts end as `platform_error`, free of charge.
    """
    async with transaction(pool) as connection:
        if not await blobs.modules_without_artifact(connection, engine_key="", after=b"", limit=1):
            return 0  # nothing is published, so nobody needs to know the engine
    engine_key = (await publisher.compile(_PROBE)).engine_key
    after, compiled = b"", 0
    while True:
        async with transaction(pool) as connection:
            digests = await blobs.modules_without_artifact(connection, engine_key=engine_key, after=after, limit=PAGE)
        for digest in digests:
            compiled += await _recompile_one(pool, publisher, digest, report)
        if len(digests) < PAGE:
            return compiled
        after = digests[-1]


class _UnusableFileError(Exception):
    """A file of the folder cannot be a module; the text says why."""


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.wasm")) if folder.is_dir() else []


def _read(path: Path) -> _Module:
    name = path.stem.lower().replace("_", "-")
    if not is_spell_name(name):
        message = "its name is none for a spell; use lower case letters, digits and hyphens"
        raise _UnusableFileError(message)
    size = path.stat().st_size
    if size > RUNTIME_MODULE_BYTES_MAX:
        message = f"it has {size} bytes, more than {RUNTIME_MODULE_BYTES_MAX}"
        raise _UnusableFileError(message)
    beside = path.with_suffix(".json")
    return _Module(name=name, content=path.read_bytes(), manifest=beside.read_bytes() if beside.is_file() else None)


async def _next_version(pool: Pool, module: _Module) -> Version | None:
    """Return the version this file becomes, or None when the latest one is just this file."""
    async with transaction(pool) as connection:
        spell = await spells.spell_get(connection, owner=PLATFORM_HANDLE, name=module.name)
        published = [] if spell is None else await spells.versions_list(connection, spell_id=spell.id)
    numbers = {version: row for row in published if (version := parse(row.version)) is not None}
    latest = highest(VersionRange(), numbers)
    if latest is None:
        return FIRST_VERSION
    if _is_same(numbers[latest], module):
        return None
    return msgspec.structs.replace(latest, patch=latest.patch + 1)


def _is_same(row: spells.SpellVersion, module: _Module) -> bool:
    if row.digest != hashlib.sha256(module.content).digest():
        return False
    return module.manifest is None or row.manifest == manifest_text(parse_manifest(module.manifest))


async def _recompile_one(pool: Pool, publisher: Publisher, digest: bytes, report: Report) -> bool:
    content = bytearray()
    piece = 0
    while True:
        async with transaction(pool) as connection:
            found = await blobs.piece_get(connection, digest=digest, piece=piece)
        if found is None:
            break
        content += found
        piece += 1
    module = bytes(content)
    try:
        await publisher.store(module, await publisher.compile(module, runtime=len(module) > MODULE_BYTES_MAX))
    except RefusedError as error:
        report(f"warning: module sha256:{digest.hex()} was not recompiled: {error.refusal.detail}")
        return False
    return True
