"""`spell keys`: API keys of any account, made and revoked by the operator of the platform."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar
from uuid import uuid4

import click
import msgspec
from rich_click import RichCommand, RichGroup

from api.auth import hash_key
from domain.flow.create_key import NewKey, create_key
from domain.flow.revoke_key import revoke_key
from domain.model.api_key import ENTROPY_BYTES, mint
from domain.model.errors import Code, RefusedError, refuse
from domain.model.key_rules import ACCOUNT_SCOPES, KEYS_PER_ACCOUNT_MAX, KeyScope, KeyTerms
from domain.store import identity
from domain.store.connection import Connection, Role, StoreError, open_pool, transaction
from operate.users import database_url
from spell.cli import CommandError

Result = TypeVar("Result")


@click.group(cls=RichGroup)
def keys() -> None:
    """Make, list and revoke API keys of an account."""


@keys.command(cls=RichCommand)
@click.option("--handle", required=True, help="Whose key it is.")
@click.option("--name", default="made by the operator", show_default=True, help="What it is for.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([str(scope) for scope in KeyScope]),
    help="Default: all but `service` and `admin`.",
)
@click.option("--rate-limit-rpm", type=click.IntRange(min=1), help="Requests a minute. Default: the platform's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def create(*, handle: str, name: str, scopes: tuple[str, ...], rate_limit_rpm: int | None, as_json: bool) -> None:
    """Make a key and print it. It is shown this once."""
    terms = KeyTerms(
        scopes=frozenset(scopes) or ACCOUNT_SCOPES, rate_limit_rpm=rate_limit_rpm, open_casts_max=None, expires_at=None
    )
    minted = mint(os.urandom(ENTROPY_BYTES))

    async def work(connection: Connection, account: identity.Account) -> identity.ApiKey:
        new = NewKey(
            id=uuid4(),
            account_id=account.id,
            made_by=None,
            prefix=minted.prefix,
            secret_hash=hash_key(minted.text),
            name=name,
            terms=terms,
            powers=frozenset(KeyScope),
        )
        return (await create_key(connection, new, now=datetime.now(UTC))).key

    key = _run(handle, work)
    if as_json:
        click.echo(msgspec.json.encode({**msgspec.structs.asdict(key), "key": minted.text}).decode())
        return
    click.echo(minted.text)


@keys.command(name="list", cls=RichCommand)
@click.option("--handle", required=True, help="Whose keys.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_(*, handle: str, as_json: bool) -> None:
    """List the keys of an account that are not revoked."""

    async def work(connection: Connection, account: identity.Account) -> list[identity.ApiKey]:
        return await identity.keys_list(connection, account_id=account.id, before=None, limit=KEYS_PER_ACCOUNT_MAX)

    found = _run(handle, work)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for key in found:
        click.echo(f"{key.prefix}  {key.created_at:%Y-%m-%d}  {key.name}  {' '.join(key.scopes)}")


@keys.command(cls=RichCommand)
@click.option("--handle", required=True, help="Whose key it is.")
@click.argument("prefix")
def revoke(*, handle: str, prefix: str) -> None:
    """End the key PREFIX (sk_live_ and eight characters). When this returns, it casts nothing any more."""

    async def work(connection: Connection, account: identity.Account) -> None:
        await revoke_key(connection, account_id=account.id, prefix=prefix)

    _run(handle, work)
    click.echo(f"{prefix} is revoked")


def _run(handle: str, work: Callable[[Connection, identity.Account], Awaitable[Result]]) -> Result:
    """Do `work` for the account of `handle` in one transaction."""

    async def run() -> Result:
        async with open_pool(database_url(), role=Role.ENGINE, size_max=1) as pool, transaction(pool) as connection:
            account = await identity.account_by_handle(connection, handle=handle)
            if account is None:
                raise refuse(Code.NOT_FOUND, f"there is no '{handle}'; make it: spell users create --handle {handle}")
            return await work(connection, account)

    try:
        return asyncio.run(run())
    except (RefusedError, StoreError) as error:
        raise CommandError(str(error)) from error
