"""The environments of the processes of a data folder, read without changing anything in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from domain.environment import SettingsError
from local.mail import SMTP_PORT_FILE
from local.ports import LOOPBACK
from local.postgres import nearest_url
from local.stripe.fake import kept_settings
from operate.dev_secrets import DEV_KEY, FREE_KEY
from operate.processes import full_environment, plans
from spell.cli import EXIT_USAGE, CommandError

_PORT_DEFAULT: Final = "8080"
RELEASE: Final = "release"
MAIL_FOLDER: Final = "mail"
STRIPE_FOLDER: Final = "stripe"


def environments_of(folder: Path, environ: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    """Return what each process of `spell dev` on `folder` gets, by its name in Procfile, `release` among them.

    The servers must run for their addresses to answer. Raises CommandError when the folder is not one of `spell dev`.
    """
    try:
        kept = msgspec.json.decode((folder / "secrets.json").read_bytes(), type=dict[str, str])
        database_url = environ.get("DATABASE_URL") or _postgres_url(folder / "postgres")
        redis_url = environ.get("REDIS_URL") or _redis_url(folder / "redis")
    except (OSError, msgspec.DecodeError) as error:
        message = f"{folder} is no data folder of `spell dev` ({error}): start `spell dev --data-dir {folder}` first"
        raise CommandError(message) from error
    try:
        whole = full_environment(
            environ,
            kept={
                **{name: value for name, value in kept.items() if name not in {DEV_KEY, FREE_KEY}},
                **_mail(folder),
                **_stripe(folder / STRIPE_FOLDER, environ),
            },
            database_url=database_url,
            redis_url=redis_url,
            port=int(environ.get("PORT") or _PORT_DEFAULT),
            artifact_folder=folder.absolute() / "artifacts",
        )
    except (SettingsError, ValueError) as error:
        raise CommandError(str(error), exit_code=EXIT_USAGE) from error
    return {RELEASE: whole, **{plan.name: plan.environment for plan in plans(whole)}}


def _postgres_url(folder: Path) -> str:
    return nearest_url(folder.absolute(), _text(folder / "password"), int(_text(folder / "port")))


def _redis_url(folder: Path) -> str:
    return f"redis://:{_text(folder / 'password')}@{LOOPBACK}:{_text(folder / 'port')}/0"


def _mail(folder: Path) -> dict[str, str]:
    """Return where mail is caught; nothing where it never was, because SMTP_URL said where it goes."""
    try:
        return {"SMTP_URL": f"smtp://{LOOPBACK}:{_text(folder / MAIL_FOLDER / SMTP_PORT_FILE)}"}
    except FileNotFoundError:
        return {}


def _stripe(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return how the stand-in is reached; nothing where the environment has keys of Stripe, or it never ran."""
    if environ.get("STRIPE_SECRET_KEY") or environ.get("STRIPE_API_KEY"):
        return {}
    try:
        return kept_settings(folder)
    except FileNotFoundError:
        return {}


def _text(file: Path) -> str:
    return file.read_text(encoding="ascii").strip()
