"""`spell login`, `logout`, `whoami`: the key of a platform, kept for this user."""

import os
import sys
from typing import Final

import click
import msgspec
from rich_click import RichCommand

from spell.client import Client
from spell.commands.platform import chosen_key, chosen_url, platform, platform_options
from spell.config import KEY_VARIABLE, Config, Server, config_path, read_config, write_config
from spell.exits import EXIT_NOT_AUTHORISED, EXIT_USAGE, CommandError
from spell.operations.identity import Identity
from spell.operations.identity import whoami as who_is
from spell.screen import print_facts, print_json, say

# A key is 55 characters; more on standard input is some other file.
_KEY_CHARACTERS_MAX: Final = 1_000
_PREFIX_CHARACTERS: Final = len("sk_live_") + 8


@click.command(cls=RichCommand)
@platform_options
@click.option("--with-key", is_flag=True, help="Read the key from standard input, without asking.")
def login(*, url: str | None, as_json: bool, with_key: bool) -> None:
    """Keep the API key of a platform for this user, after asking the platform whether it is good.

    The key is typed without being shown, or comes on standard input: `spell login --with-key < key.txt`.
    """
    path = config_path()
    config = read_config(path)
    address = chosen_url(url, config, os.environ)
    key = _read_key(address, piped=with_key)
    with Client(api_key=key, base_url=address) as client:
        identity = client.run(who_is())
    servers = {**config.servers, address: Server(key=key, account=identity.handle)}
    write_config(path, Config(default=address, servers=servers))
    if as_json:
        print_json({"url": address, "kept_in": str(path), **msgspec.structs.asdict(identity)})
    say(f"You are {identity.handle} at {address}; the key is kept in {path}", style="green")
    if os.environ.get(KEY_VARIABLE):
        say(f"note: {KEY_VARIABLE} is set, and wins over the key that was kept", style="yellow")


@click.command(cls=RichCommand)
@platform_options
def logout(*, url: str | None, as_json: bool) -> None:
    """Forget the key of a platform. The key stays valid: `spell keys revoke` ends it."""
    path = config_path()
    config = read_config(path)
    address = chosen_url(url, config, os.environ)
    known = address in config.servers
    if as_json:
        print_json({"url": address, "forgotten": known})
    if not known:
        say(f"There is no key for {address}")
        return
    servers = {name: server for name, server in config.servers.items() if name != address}
    default = next(iter(servers), "") if config.default == address else config.default
    write_config(path, Config(default=default, servers=servers))
    say(f"The key for {address} is forgotten; `spell keys revoke` at another login ends it for good")


@click.command(cls=RichCommand)
@platform_options
def whoami(*, url: str | None, as_json: bool) -> None:
    """Show which platform is asked, with which key, and whose it is."""
    config = read_config(config_path())
    address = chosen_url(url, config, os.environ)
    source = KEY_VARIABLE if os.environ.get(KEY_VARIABLE) else str(config_path())
    with platform(url) as client:
        identity = client.run(who_is())
    if as_json:
        print_json({"url": address, "key_from": source, **msgspec.structs.asdict(identity)})
        return
    key = chosen_key(address, config, os.environ) or ""
    print_facts(
        [
            ("account", identity.handle),
            ("platform", address),
            ("key", f"{key[:_PREFIX_CHARACTERS]}... from {source}"),
            ("scopes", " ".join(sorted(identity.scopes)) or "none beyond casting and reading"),
        ]
    )


def handle_of(client: Client) -> str:
    """Return the account's handle, which its spells are published under."""
    identity: Identity = client.run(who_is())
    return identity.handle


def _read_key(address: str, *, piped: bool) -> str:
    if piped:
        text = sys.stdin.read(_KEY_CHARACTERS_MAX)
    elif sys.stdin.isatty():
        text = click.prompt(f"API key for {address}", hide_input=True, err=True)
    else:
        message = "nobody can type a key here: give it on standard input with --with-key"
        raise CommandError(message, exit_code=EXIT_USAGE)
    key = text.strip()
    if not key.startswith("sk_") or not key.isascii() or not key.isprintable() or " " in key:
        message = "that is no API key: one begins with sk_live_; copy it from where it was made"
        raise CommandError(message, exit_code=EXIT_NOT_AUTHORISED)
    return key
