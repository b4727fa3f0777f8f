"""The whole platform on this machine, for `spell dev`, `spell demo` and the tests of the whole."""

import asyncio
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx
import msgspec

from domain.model.errors import RefusedError
from domain.settings import ReleaseSettings, SettingsError, load
from domain.store.connection import StoreError
from local.folder import LocalServerError, make_private_folder
from local.mail import MailCatcher
from local.ports import LOOPBACK, is_free
from local.servers import Servers, run_servers
from migrations.files import MigrationError
from operate import release
from operate.accounts import ensure_accounts
from operate.dev_billing import billing_stand_in
from operate.dev_environment import MAIL_FOLDER, STRIPE_FOLDER
from operate.dev_logins import login_stand_ins
from operate.dev_secrets import DEV_KEY, FREE_KEY, DevSecrets
from operate.processes import full_environment, plans
from operate.redis_users import RedisUsers, RedisWithUsers
from operate.supervisor import Child, EmbeddedServer, Supervisor
from spell.cli import EXIT_USAGE, CommandError

# Six processes import their libraries on two busy cores in four seconds; a loaded machine may need many times that.
READY_SECONDS_MAX: Final = 90.0
_POLL_SECONDS: Final = 0.05
_PROBE_TIMEOUT: Final = httpx.Timeout(3.0)


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """A running platform. What has no address or secret yet is None."""

    url: str
    api_key: str
    """Of an account that is never billed."""
    free_api_key: str
    """Of an account on the free plan, with the limits every key has."""
    session_token: str
    """Of the user of `api_key`'s account; a new one at each start."""
    admin_secret: str
    database_url: str
    redis_url: str
    stripe_url: str | None
    """Of the stand-in, whose pages are at /stripe/ below it."""
    mail_url: str | None


@contextmanager
def run_platform(
    data_folder: Path,
    *,
    port: int,
    environ: Mapping[str, str],
    report: Callable[[str], None],
    with_issuer: bool = False,
) -> Generator[tuple[Platform, Supervisor]]:
    """Start everything on `data_folder`, yield when it takes casts, and stop it in order at the end.

    `report` takes lines for a person; `with_issuer` also runs an OpenID provider, where one is installed.
    Raises CommandError, whose message ends with the next step.
    """
    if not is_free(port):
        message = f"port {port} is taken by another program: stop that one, or choose another port with --port"
        raise CommandError(message)
    try:
        secrets = DevSecrets(data_folder)
        logs = data_folder / "logs"
        make_private_folder(logs)
        with (
            run_servers(
                data_folder,
                database_url=environ.get("DATABASE_URL") or None,
                redis_url=environ.get("REDIS_URL") or None,
            ) as servers,
            catching_mail(data_folder / MAIL_FOLDER, environ) as mail,
            login_stand_ins(data_folder, environ, port=port, with_issuer=with_issuer) as logins,
            billing_stand_in(data_folder / STRIPE_FOLDER, environ, port=port) as stripe,
        ):
            caught = {} if mail is None else {"SMTP_URL": mail.smtp_url}
            billed = {} if stripe is None else stripe.settings
            environment = full_environment(
                environ,
                kept={**secrets.settings, **caught, **logins, **billed},
                database_url=servers.nearest_database_url,
                redis_url=servers.redis_url,
                port=port,
                artifact_folder=data_folder.absolute() / "artifacts",
            )
            session_token = asyncio.run(prepare(environment, secrets, report))
            embedded, redis_urls = _embedded(servers)
            children = [Child(plan, logs) for plan in plans(environment, redis_urls)]
            supervisor = Supervisor(children, embedded, report=report)
            try:
                supervisor.start()
                url = f"http://{LOOPBACK}:{port}"
                wait_ready(url, supervisor)
                urls = {"mail_url": mail and mail.url, "stripe_url": stripe and stripe.url}
                shown = {**environment, "DATABASE_URL": servers.database_url}
                yield _platform(url, shown, secrets, session_token, urls), supervisor
            finally:
                supervisor.stop()
    except SettingsError as error:
        raise CommandError(str(error), exit_code=EXIT_USAGE) from error
    except (LocalServerError, MigrationError, StoreError, RefusedError) as error:
        raise CommandError(str(error)) from error


@contextmanager
def catching_mail(folder: Path, environ: Mapping[str, str]) -> Generator[MailCatcher | None]:
    """Catch the platform's mail in `folder`, unless SMTP_URL says where it goes."""
    if environ.get("SMTP_URL"):
        yield None
        return
    mail = MailCatcher(folder)
    mail.start()
    try:
        yield mail
    finally:
        mail.stop()


def _embedded(servers: Servers) -> tuple[dict[str, EmbeddedServer], dict[str, str] | None]:
    """Return the servers that are ours to start again, and the processes' own URLs of a Redis of ours."""
    embedded: dict[str, EmbeddedServer] = {}
    if servers.postgres is not None:
        embedded["Postgres"] = servers.postgres
    if servers.redis is None:
        return embedded, None
    users = RedisUsers(servers.redis_url)
    users.make()
    embedded["Redis"] = RedisWithUsers(servers.redis, users)
    return embedded, users.urls()


async def prepare(environment: Mapping[str, str], secrets: DevSecrets, report: Callable[[str], None]) -> str:
    """Bring the database to this version, as a deploy would, make the local accounts, and sign in to the first."""
    now = datetime.now(UTC)
    settings = load(ReleaseSettings, environment)
    await release.run(settings, now=now, report=report)
    return await ensure_accounts(settings.migrations_database_url.reveal(), secrets, now=now)


def wait_ready(url: str, supervisor: Supervisor) -> None:
    """Return when the api is ready and every pool has a worker. Raises CommandError when a process ends before."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    with httpx.Client(base_url=url, timeout=_PROBE_TIMEOUT, trust_env=False) as client:
        while True:
            waits_for = _not_ready(client)
            if waits_for is None:
                return
            ended = supervisor.ended()
            if ended is not None:
                message = (
                    f"{ended.name} ended at start:\n{ended.last_words()}\nmend that; the whole log is {ended.log_file}"
                )
                raise CommandError(message)
            if time.monotonic() > deadline:
                logs = supervisor.children[0].log_file.parent
                message = f"the platform is not ready after {READY_SECONDS_MAX:.0f} s: {waits_for}; look into {logs}"
                raise CommandError(message)
            time.sleep(_POLL_SECONDS)


def _not_ready(client: httpx.Client) -> str | None:
    """Return what is missing, or None."""
    try:
        answer = client.get("/readyz")
        body = msgspec.json.decode(answer.content, type=_Readiness)
    except (httpx.HTTPError, msgspec.DecodeError) as error:
        return f"the api does not answer yet ({type(error).__name__})"
    if answer.status_code != HTTPStatus.OK:
        return "; ".join(f"{name}: {check.detail}" for name, check in body.checks.items() if not check.ok)
    idle = [pool for pool, workers in body.workers.items() if not workers]
    return f"no worker for {', '.join(idle)} yet" if idle else None


class _Check(msgspec.Struct):
    ok: bool
    detail: str = ""


class _Readiness(msgspec.Struct):
    checks: dict[str, _Check]
    workers: dict[str, list[dict[str, object]]]


def _platform(
    url: str, environment: Mapping[str, str], secrets: DevSecrets, session_token: str, urls: Mapping[str, str | None]
) -> Platform:
    return Platform(
        url=url,
        api_key=secrets.api_key(DEV_KEY),
        free_api_key=secrets.api_key(FREE_KEY),
        session_token=session_token,
        admin_secret=environment["ADMIN_SECRET"],
        database_url=environment["DATABASE_URL"],
        redis_url=environment["REDIS_URL"],
        stripe_url=urls["stripe_url"],
        mail_url=urls["mail_url"],
    )
