"""`spell keys` for the operator: the user's commands with `--handle`, which works on the database, for any account.

One group, because it is one thing: without `--handle` a command asks the platform as its user, with it this machine's
DATABASE_URL as its operator. `revoke --leaked FILE` is the operator's alone.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

import click
import msgspec
from rich_click import RichCommand, RichGroup

from api.auth import hash_key, key_matches
from domain.flow.create_key import NewKey, create_key
from domain.flow.revoke_key import revoke_key
from domain.flow.revoke_leaked import LEAKED_MAX, LeakedKey, revoke_leaked
from domain.model.api_key import ENTROPY_BYTES, find_keys, mint
from domain.model.audit import OPERATOR
from domain.model.errors import Code, RefusedError, refuse
from domain.model.key_rules import ACCOUNT_SCOPES, KEYS_PER_ACCOUNT_MAX, KeyScope, KeyTerms
from domain.model.modes import TEST_SCOPES, Mode
from domain.store import identity
from domain.store.connection import Connection, Role, StoreError, open_pool, transaction
from operate.users import database_url
from spell.commands.keys import expiry, show_keys
from spell.commands.keys import keys as user_keys
from spell.exits import EXIT_USAGE, CommandError
from spell.models.keys import Key
from spell.screen import Column, print_done, print_json, print_rows, say

Result = TypeVar("Result")

# A log is read a piece at a time; a key that stands across two pieces is found by this overlap.
_PIECE_CHARACTERS: Final = 1_000_000
_OVERLAP_CHARACTERS: Final = 100
_LEAKED_COLUMNS: Final = (
    Column(title="prefix"),
    Column(title="account"),
    Column(title="name", shrinks=True),
    Column(title="what"),
)
_HANDLE: Final = click.Option(
    ["--handle"],
    metavar="HANDLE",
    help="Operators: whose key it is; works on DATABASE_URL.",
)


def create(
    *,
    handle: str,
    name: str,
    test: bool,
    scopes: tuple[str, ...],
    rate_limit_rpm: int | None,
    open_casts_max: int | None,
    expires_days: int | None,
    origins: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a key for the account of `handle` and print it; without `scopes` it has all that such a key can have."""
    terms = KeyTerms(
        scopes=frozenset(scopes) or (TEST_SCOPES if test else ACCOUNT_SCOPES),
        rate_limit_rpm=rate_limit_rpm,
        open_casts_max=open_casts_max,
        expires_at=expiry(expires_days),
        allowed_origins=origins,
    )
    minted = mint(os.urandom(ENTROPY_BYTES), Mode.TEST if test else Mode.LIVE)

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
        return (await create_key(connection, new, actor=OPERATOR, now=datetime.now(UTC))).key

    key = _run(handle, work)
    if as_json:
        print_json({**msgspec.structs.asdict(key), "key": minted.text})
    else:
        click.echo(minted.text)


def list_(*, handle: str, as_json: bool) -> None:
    """List the keys of the account of `handle` that are not revoked."""

    async def work(connection: Connection, account: identity.Account) -> list[identity.ApiKey]:
        return await identity.keys_list(connection, account_id=account.id, before=None, limit=KEYS_PER_ACCOUNT_MAX)

    found = _run(handle, work)
    if as_json:
        print_json(found)
    else:
        show_keys([msgspec.convert(msgspec.to_builtins(key), Key) for key in found], as_json=False)


def revoke(*, handle: str, prefix: str, as_json: bool) -> None:
    """End a key of the account of `handle`."""

    async def work(connection: Connection, account: identity.Account) -> None:
        await revoke_key(connection, account_id=account.id, prefix=prefix, actor=OPERATOR)

    _run(handle, work)
    print_done(prefix, "revoked", as_json=as_json)


def revoke_found(file: Path, *, as_json: bool) -> None:
    """Revoke every real key that stands in `file`, any text, and print which."""
    found = _keys_in(file)
    ended: list[LeakedKey] = []
    for first in range(0, len(found), LEAKED_MAX):
        ended += _revoke_leaked(found[first : first + LEAKED_MAX])
    if as_json:
        print_json(ended)
        return
    rows = [
        (key.prefix, key.handle, key.name, "revoked now" if key.revoked_now else "was revoked before") for key in ended
    ]
    print_rows(_LEAKED_COLUMNS, rows, empty=f"No key of this platform stands in {file}.")
    if len(found) > len(ended):
        say(f"{len(found) - len(ended)} texts look like keys, but open nothing here")


def _keys_in(file: Path) -> list[str]:
    """Return every well-formed key that stands in a file, however large. Raises CommandError (usage)."""
    found: dict[str, None] = {}
    tail = ""
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            while piece := lines.read(_PIECE_CHARACTERS):
                found.update(dict.fromkeys(find_keys(tail + piece)))
                tail = piece[-_OVERLAP_CHARACTERS:]
    except OSError as error:
        message = f"{file} cannot be read ({error.strerror}); give a text, like a log or a git diff"
        raise CommandError(message, exit_code=EXIT_USAGE) from error
    return list(found)


def _revoke_leaked(texts: list[str]) -> list[LeakedKey]:
    async def run() -> list[LeakedKey]:
        async with open_pool(database_url(), role=Role.ENGINE, size_max=1) as pool, transaction(pool) as connection:
            return await revoke_leaked(connection, texts, actor=OPERATOR, matches=key_matches)

    return _asked(run)


def _run(handle: str, work: Callable[[Connection, identity.Account], Awaitable[Result]]) -> Result:
    """Do `work` for the account of `handle` in one transaction."""

    async def run() -> Result:
        async with open_pool(database_url(), role=Role.ENGINE, size_max=1) as pool, transaction(pool) as connection:
            account = await identity.account_by_handle(connection, handle=handle)
            if account is None:
                raise refuse(Code.NOT_FOUND, f"there is no '{handle}'; make it: spell users create --handle {handle}")
            return await work(connection, account)

    return _asked(run)


def _asked(run: Callable[[], Awaitable[Result]]) -> Result:
    async def awaited() -> Result:
        return await run()

    try:
        return asyncio.run(awaited())
    except (RefusedError, StoreError) as error:
        raise CommandError(str(error)) from error


def _either(name: str, operator: Callable[..., None]) -> click.Command:
    """Return the user's command with `--handle`, which does the operator's work instead."""
    user = user_keys.commands[name]
    ask = user.callback
    assert ask is not None, "every command of the group does something"
    takes = set(operator.__kwdefaults__ or ()) | set(operator.__annotations__)

    def either(*, handle: str | None, **given: Any) -> object:  # what click read from the options
        if handle is None:
            return ask(**given)
        _refuse_others(user, given, takes)
        operator(handle=handle, **{option: value for option, value in given.items() if option in takes})
        return None

    return RichCommand(name=name, callback=either, params=[_HANDLE, *user.params], help=user.help)


def _refuse_others(command: click.Command, given: Mapping[str, Any], takes: set[str]) -> None:
    """Refuse an option that was given and would do nothing."""
    for option in command.params:
        if option.name not in takes and given.get(str(option.name)):
            message = f"{option.opts[0]} is for asking a platform; it does nothing with --handle: leave it out"
            raise click.UsageError(message)


def _revoke_command() -> click.Command:
    """Return `revoke` with the operator's two ways beside the user's."""
    either = _either("revoke", revoke)
    ask = either.callback
    assert ask is not None, "made here"

    def revoke_any(*, leaked: Path | None, prefix: str | None, as_json: bool, **given: Any) -> object:
        if leaked is not None:
            if prefix is not None or any(given.values()):
                message = "--leaked FILE revokes every key that stands in the file; it goes with --json alone"
                raise click.UsageError(message)
            return revoke_found(leaked, as_json=as_json)
        if prefix is None:
            message = "name the key: its PREFIX, or --leaked FILE"
            raise click.UsageError(message)
        return ask(prefix=prefix, as_json=as_json, **given)

    options: list[click.Parameter] = [
        click.Option(
            ["--leaked"],
            type=click.Path(path_type=Path, dir_okay=False),
            help="Operators: revoke every real key that stands in this text, a log or a git diff; on DATABASE_URL.",
        ),
    ]
    params = [click.Argument(["prefix"], required=False) if one.name == "prefix" else one for one in either.params]
    return RichCommand(name="revoke", callback=revoke_any, params=[*options, *params], help=either.help)


def _group() -> click.Group:
    group = RichGroup(name="keys", help="Make, list, change, rotate and revoke API keys. Operators: --handle.")
    for name, command in user_keys.commands.items():
        group.add_command(command, name)
    group.add_command(_either("create", create))
    group.add_command(_either("list", list_))
    group.add_command(_revoke_command())
    return group


keys: Final = _group()
