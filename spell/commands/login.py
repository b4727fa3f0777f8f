"""`spell login`, `logout`, `whoami`: a session or a key of a platform, kept for this user."""

import os
import sys
from typing import Final

import click
import msgspec
from rich_click import RichCommand

from spell.client import Client
from spell.commands.browser_login import BrowserLogin, http_client, open_browser
from spell.commands.platform import chosen_key, chosen_url, platform, platform_options
from spell.config import KEY_VARIABLE, Config, Server, config_path, read_config, write_config
from spell.errors import SpellError, Unauthorized
from spell.exits import EXIT_NOT_AUTHORISED, EXIT_USAGE, CommandError
from spell.operations.identity import Identity, sign_out
from spell.operations.identity import whoami as who_is
from spell.screen import print_facts, print_json, say

# A key is 55 characters; more on standard input is some other file.
_KEY_CHARACTERS_MAX: Final = 1_000
_SESSION: Final = "ss_"
_PREFIX_CHARACTERS: Final = len("sk_live_") + 8


@click.command(cls=RichCommand)
@platform_options
@click.option("--with-key", is_flag=True, help="Keep an API key instead: typed unseen, or from standard input.")
@click.option("--no-browser", is_flag=True, help="Print the address; confirm on any machine with a browser.")
def login(*, url: str | None, as_json: bool, with_key: bool, no_browser: bool) -> None:
    """Sign in to a platform in a browser, and keep the session for this user.

    A key of your own is kept instead with `--with-key`: `spell login --with-key < key.txt`. It is asked for at a
    terminal, and the platform is asked whether it is good.
    """
    path = config_path()
    config = read_config(path)
    address = chosen_url(url, config, os.environ)
    key = _read_key(address) if with_key else _sign_in(address, no_browser=no_browser)
    with Client(api_key=key, base_url=address) as client:
        identity = client.run(who_is())
    servers = {**config.servers, address: Server(key=key, account=identity.handle)}
    write_config(path, Config(default=address, servers=servers))
    if as_json:
        print_json({"url": address, "kept_in": str(path), **msgspec.structs.asdict(identity)})
    kept = "key" if with_key else "session"
    say(f"You are {identity.handle} at {address}; the {kept} is kept in {path}", style="green")
    if os.environ.get(KEY_VARIABLE):
        say(f"note: {KEY_VARIABLE} is set, and wins over the {kept} that was kept", style="yellow")


@click.command(cls=RichCommand)
@platform_options
def logout(*, url: str | None, as_json: bool) -> None:
    """Forget the key of a platform, which stays valid until `spell keys revoke`; it ends a session."""
    path = config_path()
    config = read_config(path)
    address = chosen_url(url, config, os.environ)
    known = address in config.servers
    if as_json:
        print_json({"url": address, "forgotten": known})
    if not known:
        say(f"There is no key for {address}")
        return
    key = config.servers[address].key
    ended = key.startswith(_SESSION) and _end_session(address, key)
    servers = {name: server for name, server in config.servers.items() if name != address}
    default = next(iter(servers), "") if config.default == address else config.default
    write_config(path, Config(default=default, servers=servers))
    if key.startswith(_SESSION):
        say(f"The session at {address} is {'ended' if ended else 'forgotten; it ends a week from its last use'}")
    else:
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
            ("key", f"{_shown(key)} from {source}"),
            ("scopes", " ".join(sorted(identity.scopes)) or "none beyond casting and reading"),
        ]
    )


def handle_of(client: Client) -> str:
    """Return the account's handle, which its spells are published under."""
    identity: Identity = client.run(who_is())
    return identity.handle


def _sign_in(address: str, *, no_browser: bool) -> str:
    """Return the token of a session that somebody confirmed in a browser."""
    if not (no_browser or sys.stdin.isatty()):
        message = "nobody is at this terminal: give a key with --with-key, or confirm elsewhere with --no-browser"
        raise CommandError(message, exit_code=EXIT_USAGE)
    with http_client(address) as http:
        begun = BrowserLogin(http)
        code = begun.begin()
        say(f"Your code is {code.user_code}", style="bold")
        if no_browser or not open_browser(code.verification_uri_complete):
            say(f"Open {code.verification_uri_complete} and confirm it there")
        else:
            say(f"Confirm it in the browser that opens, or at {code.verification_uri}")
        return begun.wait(code)


def _end_session(address: str, token: str) -> bool:
    """End a session at its platform; False when that does not answer. One that has ended already is as good."""
    try:
        with Client(api_key=token, base_url=address) as client:
            client.run(sign_out())
    except Unauthorized:
        return True
    except SpellError:
        return False
    return True


def _read_key(address: str) -> str:
    if sys.stdin.isatty():
        text = click.prompt(f"API key for {address}", hide_input=True, err=True)
    else:
        text = sys.stdin.read(_KEY_CHARACTERS_MAX)
    key = text.strip()
    if not key.startswith("sk_") or not key.isascii() or not key.isprintable() or " " in key:
        message = "that is no API key: one begins with sk_live_ or sk_test_; copy it from where it was made"
        raise CommandError(message, exit_code=EXIT_NOT_AUTHORISED)
    return key


def _shown(key: str) -> str:
    """Return what may be shown of a key; of a session's token that is nothing."""
    return f"{key[:_PREFIX_CHARACTERS]}..." if key.startswith("sk_") else "a session"
