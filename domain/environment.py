"""Reads settings out of an environment and collects everything that is wrong with them, so that one start names all.

Values of secrets never appear in a message or a repr.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping
from email.utils import parseaddr
from typing import Final, Generic, NoReturn, TypeVar
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

Value = TypeVar("Value")

_DIGITS: Final = re.compile(r"[0-9]{1,15}")
_MAIL_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+")
_HEX: Final = re.compile(r"[0-9a-fA-F]+")
KEY_BYTES: Final = 32
# 128 bits cannot be guessed by anybody; a hex digit carries 4 of them, a character of base64 6.
SECRET_BITS_MIN: Final = 128
# A random secret of that size has more than eight different characters, "changeme" repeated has not.
SECRET_DISTINCT_MIN: Final = 8


class SettingsError(Exception):
    """The environment does not describe a process that may start. `problems` has one line per setting."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Secret(Generic[Value]):
    """A value that does not show itself in a repr, a log line or a traceback; `reveal()` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: Value) -> None:
        self._value = value

    def reveal(self) -> Value:
        """Return the value itself. Call it where the value is used, not where it is passed on."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(...)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # whatever it holds, it compares

    def __hash__(self) -> int:
        return hash(self._value)


class Invalid(Exception):  # noqa: N818  # a verdict between this module's functions; it never leaves the reader
    """A value does not fit; the text says what is wrong and how to put it right, without the value if it is secret."""


class Reader:
    """Takes settings out of `environ` one by one. A wrong one is remembered in `problems`, and a stand-in returned.

    An empty value counts as not set, because many tools cannot unset a name.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def text(self, *names: str) -> str | None:
        """Return the first of `names` that is set."""
        return next((self._environ[name] for name in names if self._environ.get(name)), None)

    def names_set(self) -> list[str]:
        """Return every name of the environment with a value, sorted."""
        return sorted(name for name, value in self._environ.items() if value)

    def problem(self, name: str, what: str) -> None:
        """Remember that setting `name` cannot stay as it is; `what` says why and how to fix it."""
        line = f"{name}: {what}"
        if line not in self.problems:
            self.problems.append(line)

    def required(self, name: str, parse: Callable[[str], Value], stand_in: Value, fix: str) -> Value:
        """Return the parsed value of `name`; not set is a problem, answered with `fix`."""
        if self.text(name) is None:
            self.problem(name, f"missing; {fix}")
        return self.optional(name, parse, stand_in)

    def optional(self, name: str, parse: Callable[[str], Value], default: Value) -> Value:
        """Return the parsed value of `name`, or `default` when it is not set or does not parse."""
        text = self.text(name)
        if text is None:
            return default
        try:
            return parse(text)
        except Invalid as error:
            self.problem(name, str(error))
            return default

    def whole(self, name: str, default: int, *, least: int, most: int) -> int:
        """Return a whole number within bounds."""

        def parse(text: str) -> int:
            if _DIGITS.fullmatch(text) is None or not least <= int(text) <= most:
                _refuse(f"{text!r} is not a whole number from {least} to {most}")
            return int(text)

        return self.optional(name, parse, default)

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        """Return one of `choices`."""

        def parse(text: str) -> str:
            if text not in choices:
                _refuse(f"{text!r} is none of {', '.join(choices)}")
            return text

        return self.optional(name, parse, default)

    def raise_problems(self) -> None:
        """Raise SettingsError when anything was wrong."""
        if self.problems:
            raise SettingsError(self.problems)


def postgres_url(text: str) -> Secret[str]:
    """Accept a Postgres URL whose hosts are all this machine, or whose server proves who it is."""
    address = _split(text, ("postgresql", "postgres"), "postgresql://user:password@host:5432/name")
    options = {name: values[-1] for name, values in parse_qs(address.query).items()}
    named = [_host_of(place) for place in address.netloc.rpartition("@")[2].split(",")]
    hosts = [*(options.get("host") or ",".join(named)).split(","), *options.get("hostaddr", "").split(",")]
    if not hosts[0]:
        _refuse("names no host; write postgresql://user:password@host:5432/name, or ?host=/folder for a socket")
    if not all(_is_here(host) for host in hosts) and options.get("sslmode") != "verify-full":
        _refuse("the server is not on this machine, so the URL must say sslmode=verify-full (and sslrootcert)")
    return Secret(text)


def redis_url(text: str) -> Secret[str]:
    """Accept a Redis URL on this machine, or one with TLS and a checked certificate."""
    address = _split(text, ("redis", "rediss", "unix"), "rediss://user:password@host:6379/0")
    if address.scheme != "unix" and not _is_here(_host_of(address.netloc.rpartition("@")[2])):
        options = {name: values[-1] for name, values in parse_qs(address.query).items()}
        if address.scheme != "rediss":
            _refuse("the server is not on this machine, so the URL must start with rediss://")
        if options.get("ssl_cert_reqs", "required") not in {"required", "CERT_REQUIRED"} or (
            options.get("ssl_check_hostname", "true").lower() not in {"true", "1", "yes"}
        ):
            _refuse("the server's certificate must be checked; take ssl_cert_reqs and ssl_check_hostname out")
    return Secret(text)


def smtp_url(text: str) -> Secret[str]:
    """Accept where mail is handed in."""
    _split(text, ("smtp", "smtps"), "smtps://user:password@host:465")
    return Secret(text)


def mail_address(text: str) -> str:
    """Accept the sender of mail: an address, alone or behind a name as in `Spells <mail@host>`."""
    address = parseaddr(text)[1]
    if not text.isprintable() or not text.isascii() or _MAIL_ADDRESS.fullmatch(address) is None:
        _refuse("is not an address; write it like `Spells <mail@host>`")
    return text


def web_url(text: str) -> str:
    """Accept an http or https URL without a query; returned without a slash at its end."""
    address = _split(text, ("http", "https"), "https://host")
    if not address.hostname or address.query or address.fragment or address.username is not None:
        _refuse("needs a host, and no query, fragment or password; write it like https://host")
    return text.rstrip("/")


def safe_web_url(text: str) -> str:
    """Accept a web URL that secrets may travel to: https, or this machine."""
    url = web_url(text)
    address = urlsplit(url)
    if address.scheme != "https" and not _is_here(address.hostname or ""):
        _refuse("secrets are sent there, so it must start with https:// unless it is this machine")
    return url


def origins(text: str) -> tuple[str, ...]:
    """Accept browser origins with commas between."""
    found = tuple(web_url(part.strip()) for part in text.split(",") if part.strip())
    if any(urlsplit(origin).path for origin in found):
        _refuse("an origin has no path; write scheme, host and port only, with commas between")
    return found


def networks(text: str) -> tuple[str, ...]:
    """Accept addresses or networks (CIDR) with commas between."""
    try:
        return tuple(str(ipaddress.ip_network(part.strip())) for part in text.split(",") if part.strip())
    except ValueError as error:
        _refuse(f"{error}; write networks like 10.0.0.0/8, with commas between")


def plain_secret(text: str) -> Secret[str]:
    """Accept whatever a vendor gave out."""
    return Secret(text)


def strong_secret(text: str) -> Secret[str]:
    """Accept a secret of our own making that nobody can guess."""
    bits = len(text) * (4 if _HEX.fullmatch(text) else 6)
    if bits < SECRET_BITS_MIN or len(set(text)) < SECRET_DISTINCT_MIN:
        _refuse(f"can be guessed: it needs {SECRET_BITS_MIN} random bits; make one with `openssl rand -hex 32`")
    return Secret(text)


def key(text: str) -> Secret[bytes]:
    """Accept a key of exactly 32 bytes, in hex or base64."""
    decoded = long_key(text)
    if len(decoded.reveal()) != KEY_BYTES:
        _refuse(f"decodes to {len(decoded.reveal())} bytes, not {KEY_BYTES}; make one with `openssl rand -hex 32`")
    return decoded


def public_keys(text: str) -> tuple[bytes, ...]:
    """Accept public keys of 32 bytes each with commas between, in hex or base64."""
    return tuple(key(part.strip()).reveal() for part in text.split(","))


def long_key(text: str) -> Secret[bytes]:
    """Accept a key of 32 bytes or more, in hex or base64 (either alphabet, with or without padding)."""
    try:
        if _HEX.fullmatch(text):
            decoded = bytes.fromhex(text)
        else:
            ordinary = text.rstrip("=").replace("-", "+").replace("_", "/")
            decoded = base64.b64decode(ordinary + "=" * (-len(ordinary) % 4), validate=True)
    except (ValueError, binascii.Error):
        _refuse_key()
    if len(decoded) < KEY_BYTES or len(set(decoded)) < SECRET_DISTINCT_MIN:
        _refuse_key()
    return Secret(decoded)


def _refuse_key() -> NoReturn:
    _refuse(f"is not {KEY_BYTES} random bytes in hex or base64; make it with `openssl rand -hex 32`")


def _refuse(why: str) -> NoReturn:
    raise Invalid(why)


def _split(text: str, schemes: tuple[str, ...], example: str) -> SplitResult:
    try:
        address = urlsplit(text)
    except ValueError:
        _refuse(f"is not a URL; write it like {example}")
    if address.scheme not in schemes or "://" not in text:
        _refuse(f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}; like {example}")
    return address


def _host_of(place: str) -> str:
    """Return the host of `host:port`, where an IPv6 host stands in brackets and a socket folder is percent-encoded."""
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return unquote(place.partition(":")[0])


def _is_here(host: str) -> bool:
    """Tell whether `host` is this machine: no host at all, a socket's folder, or a loopback address."""
    if host in {"", "localhost"} or host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_equal_keys(reader: Reader, keys: dict[str, Secret[bytes] | None]) -> None:
    """Refuse one key for two uses: who can ask for a signature of one kind must not get one of another."""
    seen: dict[Secret[bytes], str] = {}
    for name, value in keys.items():
        if value is None or not value.reveal():
            continue
        if value in seen:
            reader.problem(name, f"is the same key as {seen[value]}; make another with `openssl rand -hex 32`")
        seen[value] = name
