"""What each kind of process must be told, one frozen struct per kind: a process holds no secret it does not need.

`load(ApiSettings, os.environ)` is called once, by an entry point, which passes the struct down.
"""

from collections.abc import Mapping
from typing import Final, Protocol, Self, TypeVar

import msgspec

from domain.environment import (
    Reader,
    Secret,
    SettingsError,
    key,
    long_key,
    mail_address,
    networks,
    origins,
    postgres_url,
    public_keys,
    redis_url,
    refuse_equal_keys,
    smtp_url,
    strong_secret,
    web_url,
)
from domain.model.messages import Pool
from domain.price_settings import MICROS_MAX, PriceSettings, read_credit_micros
from domain.vendor_settings import GithubSettings, OidcSettings, StripeSettings

__all__ = [
    "ApiSettings",
    "CourierSettings",
    "GithubSettings",
    "LedgerSettings",
    "MigrationSettings",
    "OidcSettings",
    "PriceSettings",
    "ReleaseSettings",
    "SchedulerSettings",
    "Secret",
    "SettingsError",
    "StripeSettings",
    "WorkerSettings",
    "load",
]

PORT_DEFAULT: Final = 8080
PORT_MAX: Final = 65_535
# More threads than this in one process only fight for Python's lock; start another process instead.
WORKER_THREADS_MAX: Final = 64
# A year of one request per millisecond: beyond it a number is a typing mistake, not a limit.
COUNT_MAX: Final = 10**9
# $20: what a metered account without a budget of its own can owe before anybody has looked.
METERED_LIMIT_MICROS_DEFAULT: Final = 20_000_000
MAIL_FROM_DEFAULT: Final = "Spell Platform <no-reply@localhost>"

_WORKER_MUST_NOT_SEE: Final = frozenset(
    {
        "DATABASE_URL",
        "ENGINE_DATABASE_URL",
        "MIGRATIONS_DATABASE_URL",
        "ADMIN_SECRET",
        "ARTIFACT_SIGNING_KEY",
        "RECEIPT_SIGNING_KEY",
        "CAST_TOKEN_KEY",
        "GITHUB_CLIENT_SECRET",
        "OIDC_CLIENT_SECRET",
        "SMTP_URL",
        "WEBHOOK_SIGNING_KEY",
    }
)

_NO_TEXT: Final = Secret("")
_NO_KEY: Final = Secret(b"")
_KEY_FIX: Final = "set it to 32 random bytes, made with `openssl rand -hex 32`"
_DATABASE_FIX: Final = "set it to postgresql://user:password@host:5432/name"


class _Readable(Protocol):
    @classmethod
    def read(cls, reader: Reader) -> Self: ...


Settings = TypeVar("Settings", bound=_Readable)


def load(kind: type[Settings], environ: Mapping[str, str]) -> Settings:
    """Return the settings of one kind of process. Raises SettingsError that names every wrong or missing setting."""
    reader = Reader(environ)
    settings = kind.read(reader)
    reader.raise_problems()
    return settings


class MigrationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What moving the schema needs and no more: the owner's database."""

    migrations_database_url: Secret[str]

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read from `reader`; the owner's URL is DATABASE_URL where a small self-host has only one."""
        name = "MIGRATIONS_DATABASE_URL" if reader.text("MIGRATIONS_DATABASE_URL") else "DATABASE_URL"
        return cls(migrations_database_url=reader.required(name, postgres_url, _NO_TEXT, _DATABASE_FIX))


class ReleaseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`release`: once per deploy, with the owner's rights on the database."""

    migrations_database_url: Secret[str]
    prices: PriceSettings
    artifact_signing_key: Secret[bytes]
    """32 bytes, Ed25519: an engine upgrade recompiles here, and what is compiled is signed."""
    wasm_module_path: str
    log_level: str

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read from `reader`."""
        return cls(
            migrations_database_url=MigrationSettings.read(reader).migrations_database_url,
            prices=PriceSettings.read(reader),
            artifact_signing_key=reader.required("ARTIFACT_SIGNING_KEY", key, _NO_KEY, _KEY_FIX),
            wasm_module_path=_module_path(reader),
            log_level=_log_level(reader),
        )


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`api`: the HTTP edge; also compiles what is published."""

    port: int
    public_url: str
    database_url: Secret[str]
    engine_database_url: Secret[str]
    redis_url: Secret[str]
    cast_token_key: Secret[bytes]
    artifact_signing_key: Secret[bytes]
    """32 bytes, Ed25519 private seed."""
    receipt_signing_key: Secret[bytes] | None
    receipt_retired_keys: tuple[bytes, ...]
    """Public halves of keys that signed receipts before: those stay provable."""
    webhook_signing_key: Secret[bytes]
    """The secrets of webhooks are derived from it; the courier has the same."""
    webhook_allow_private: tuple[str, ...]
    """Networks that webhooks may reach although they are not public."""
    worker_token: Secret[str]
    admin_secret: Secret[str] | None
    """None: the admin routes are closed."""
    trusted_proxies: tuple[str, ...]
    """Networks whose X-Forwarded-For is believed."""
    cors_origins: tuple[str, ...]
    stripe: StripeSettings | None
    github: GithubSettings | None
    oidc: OidcSettings | None
    smtp_url: Secret[str] | None
    credit_micros: int
    """What a credit is worth in casts."""
    free_tier_runs_limit: int
    billing_plan_default: str
    metered_limit_default_micros: int
    rate_limit_rpm: int
    rate_limit_anon_rpm: int
    wasm_module_path: str
    jail: str
    log_level: str

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return a line for each part that is off because of what is not set; say them at start."""
        off = (
            (self.stripe, "STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET are not both set: billing is off"),
            (self.admin_secret, "ADMIN_SECRET is not set: the /admin routes are closed"),
            (
                self.receipt_signing_key,
                "RECEIPT_SIGNING_KEY is not set: receipts are unsigned, quotes are off",
            ),
        )
        return tuple(line for part, line in off if part is None)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read from `reader`."""
        port = reader.whole("PORT", PORT_DEFAULT, least=1, most=PORT_MAX)
        public_url = reader.optional("PUBLIC_URL", web_url, f"http://127.0.0.1:{port}")
        keys = {
            "ARTIFACT_SIGNING_KEY": reader.required("ARTIFACT_SIGNING_KEY", key, _NO_KEY, _KEY_FIX),
            "CAST_TOKEN_KEY": _cast_token_key(reader),
            "WEBHOOK_SIGNING_KEY": _webhook_signing_key(reader),
        }
        receipt_signing_key = reader.optional("RECEIPT_SIGNING_KEY", key, None)
        refuse_equal_keys(reader, {**keys, "RECEIPT_SIGNING_KEY": receipt_signing_key})
        return cls(
            port=port,
            public_url=public_url,
            database_url=_database_url(reader),
            engine_database_url=_engine_database_url(reader),
            redis_url=_redis_url(reader),
            cast_token_key=keys["CAST_TOKEN_KEY"],
            artifact_signing_key=keys["ARTIFACT_SIGNING_KEY"],
            receipt_signing_key=receipt_signing_key,
            receipt_retired_keys=reader.optional("RECEIPT_RETIRED_KEYS", public_keys, ()),
            webhook_signing_key=keys["WEBHOOK_SIGNING_KEY"],
            webhook_allow_private=_webhook_allow_private(reader),
            worker_token=_worker_token(reader),
            admin_secret=reader.optional("ADMIN_SECRET", strong_secret, None),
            trusted_proxies=reader.optional("TRUSTED_PROXIES", networks, ()),
            cors_origins=reader.optional("CORS_ORIGINS", origins, ()),
            stripe=StripeSettings.read(reader),
            github=GithubSettings.read(reader, public_url),
            oidc=OidcSettings.read(reader),
            smtp_url=reader.optional("SMTP_URL", smtp_url, None),
            credit_micros=read_credit_micros(reader),
            free_tier_runs_limit=reader.whole("FREE_TIER_RUNS_LIMIT", 100, least=0, most=COUNT_MAX),
            billing_plan_default=reader.choice("BILLING_PLAN_DEFAULT", "free", ("free", "pro", "enterprise")),
            metered_limit_default_micros=_metered_limit(reader),
            rate_limit_rpm=reader.whole("RATE_LIMIT_RPM", 60, least=1, most=COUNT_MAX),
            rate_limit_anon_rpm=reader.whole("RATE_LIMIT_ANON_RPM", 10, least=1, most=COUNT_MAX),
            wasm_module_path=_module_path(reader),
            jail=_jail(reader),
            log_level=_log_level(reader),
        )


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`worker`: runs other people's code, so it holds nothing that is worth stealing."""

    redis_url: Secret[str]
    artifact_url: str
    artifact_verify_key: Secret[bytes]
    """32 bytes, Ed25519 public key: no secret, but nobody's business in a log either."""
    worker_token: Secret[str]
    artifact_cache_dir: str
    pool: Pool
    worker_threads: int
    jail: str
    metrics_port: int | None
    log_level: str

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read from `reader`; a credential that is not the worker's is a problem, not something to overlook."""
        for name in reader.names_set():
            if name in _WORKER_MUST_NOT_SEE or name.startswith("STRIPE_"):
                reader.problem(name, "must not be in a worker's environment; give workers an environment of their own")
        port = reader.whole("PORT", PORT_DEFAULT, least=1, most=PORT_MAX)
        return cls(
            redis_url=_redis_url(reader),
            artifact_url=reader.optional("ARTIFACT_URL", web_url, f"http://127.0.0.1:{port}"),
            artifact_verify_key=reader.required(
                "ARTIFACT_VERIFY_KEY", key, _NO_KEY, "set it to the public half of ARTIFACT_SIGNING_KEY, hex or base64"
            ),
            worker_token=_worker_token(reader),
            artifact_cache_dir=reader.text("ARTIFACT_CACHE_DIR") or ".data/artifacts",
            pool=Pool(reader.choice("POOL", Pool.DEFAULT, tuple(Pool))),
            worker_threads=reader.whole("WORKER_THREADS", 2, least=1, most=WORKER_THREADS_MAX),
            jail=_jail(reader),
            metrics_port=_metrics_port(reader),
            log_level=_log_level(reader),
        )


class LedgerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`ledger`: settles what workers claim."""

    engine_database_url: Secret[str]
    redis_url: Secret[str]
    cast_token_key: Secret[bytes]
    metrics_port: int | None
    log_level: str

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read from `reader`."""
        return cls(
            engine_database_url=_engine_database_url(reader),
            redis_url=_redis_url(reader),
            cast_token_key=_cast_token_key(reader),
            metrics_port=_metrics_port(reader),
            log_level=_log_level(reader),
        )


class CourierSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`courier`: sends webhooks and mail."""

    engine_database_url: Secret[str]
    webhook_signing_key: Secret[bytes]
    webhook_allow_private: tuple[str, ...]
    """Networks that webhooks may reach although they are not public."""
    smtp_url: Secret[str] | None
    """None: mail is not sent, and its rows say so."""
    mail_from: str
    public_url: str
    metrics_port: int | None
    log_level: str

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read from `reader`."""
        port = reader.whole("PORT", PORT_DEFAULT, least=1, most=PORT_MAX)
        return cls(
            engine_database_url=_engine_database_url(reader),
            webhook_signing_key=_webhook_signing_key(reader),
            webhook_allow_private=_webhook_allow_private(reader),
            smtp_url=reader.optional("SMTP_URL", smtp_url, None),
            mail_from=reader.optional("MAIL_FROM", mail_address, MAIL_FROM_DEFAULT),
            public_url=reader.optional("PUBLIC_URL", web_url, f"http://127.0.0.1:{port}"),
            metrics_port=_metrics_port(reader),
            log_level=_log_level(reader),
        )


class SchedulerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`scheduler`: the clock: resend, expire, billing, reconcile, retention."""

    engine_database_url: Secret[str]
    redis_url: Secret[str]
    cast_token_key: Secret[bytes]
    stripe: StripeSettings | None
    public_url: str
    credit_micros: int
    metered_limit_default_micros: int
    metrics_port: int | None
    log_level: str

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read from `reader`."""
        port = reader.whole("PORT", PORT_DEFAULT, least=1, most=PORT_MAX)
        return cls(
            engine_database_url=_engine_database_url(reader),
            redis_url=_redis_url(reader),
            cast_token_key=_cast_token_key(reader),
            stripe=StripeSettings.read(reader),
            public_url=reader.optional("PUBLIC_URL", web_url, f"http://127.0.0.1:{port}"),
            credit_micros=read_credit_micros(reader),
            metered_limit_default_micros=_metered_limit(reader),
            metrics_port=_metrics_port(reader),
            log_level=_log_level(reader),
        )


def _database_url(reader: Reader) -> Secret[str]:
    return reader.required("DATABASE_URL", postgres_url, _NO_TEXT, _DATABASE_FIX)


def _engine_database_url(reader: Reader) -> Secret[str]:
    if reader.text("ENGINE_DATABASE_URL"):
        return reader.optional("ENGINE_DATABASE_URL", postgres_url, _NO_TEXT)
    return _database_url(reader)


def _redis_url(reader: Reader) -> Secret[str]:
    return reader.required("REDIS_URL", redis_url, _NO_TEXT, "set it to redis://localhost:6379 or rediss://host:6379")


def _cast_token_key(reader: Reader) -> Secret[bytes]:
    return reader.required("CAST_TOKEN_KEY", long_key, _NO_KEY, _KEY_FIX)


def _webhook_signing_key(reader: Reader) -> Secret[bytes]:
    return reader.required("WEBHOOK_SIGNING_KEY", long_key, _NO_KEY, _KEY_FIX)


def _webhook_allow_private(reader: Reader) -> tuple[str, ...]:
    """Read which networks webhooks may reach although they are not public; `spell dev` allows this machine."""
    return reader.optional("WEBHOOK_ALLOW_PRIVATE", networks, ())


def _worker_token(reader: Reader) -> Secret[str]:
    fix = "set it, equal for api and workers, to what `openssl rand -hex 32` prints"
    return reader.required("WORKER_TOKEN", strong_secret, _NO_TEXT, fix)


def _metrics_port(reader: Reader) -> int | None:
    return reader.whole("METRICS_PORT", 0, least=1, most=PORT_MAX) or None


def _metered_limit(reader: Reader) -> int:
    name = "METERED_LIMIT_DEFAULT_MICROS"
    return reader.whole(name, METERED_LIMIT_MICROS_DEFAULT, least=0, most=MICROS_MAX)


def _module_path(reader: Reader) -> str:
    return reader.text("WASM_MODULE_PATH") or "./modules"


def _jail(reader: Reader) -> str:
    """Read whether to refuse a kernel that lacks a part of the jail (required), or to report it (auto)."""
    return reader.choice("SPELL_JAIL", "auto", ("auto", "required"))


def _log_level(reader: Reader) -> str:
    return reader.choice("LOG_LEVEL", "info", ("debug", "info", "warning", "error"))
