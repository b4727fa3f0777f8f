"""`spell doctor`: look at settings, servers and this machine, and say of each thing that is not well how to mend it."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import msgspec
from click.exceptions import Exit
from rich_click import RichCommand

from domain.settings import (
    ApiSettings,
    CourierSettings,
    LedgerSettings,
    ReleaseSettings,
    SchedulerSettings,
    SettingsError,
    WorkerSettings,
    load,
)
from operate.dev_environment import RELEASE, environments_of
from operate.examine_machine import examine_disk, examine_executor, examine_python, examine_toolchains
from operate.examine_servers import examine_postgres, examine_redis
from operate.findings import Finding, Level, problem, warning, well
from operate.processes import API, COURIER, LEDGER, SCHEDULER, WORKER, WORKER_LARGE
from spell.cli import EXIT_FAILED

_MARK: Final = {Level.OK: "ok     ", Level.WARNING: "warning", Level.PROBLEM: "PROBLEM"}
_READERS: Final = {
    RELEASE: ReleaseSettings,
    API: ApiSettings,
    WORKER: WorkerSettings,
    WORKER_LARGE: WorkerSettings,
    LEDGER: LedgerSettings,
    COURIER: CourierSettings,
    SCHEDULER: SchedulerSettings,
}
_DATABASE_NAMES: Final = ("MIGRATIONS_DATABASE_URL", "ENGINE_DATABASE_URL", "DATABASE_URL")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was looked at, in order."""

    healthy: bool
    findings: tuple[Finding, ...]


@click.command(cls=RichCommand)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Look at this data folder of `spell dev`, which must run, instead of at the environment.",
)
@click.option(
    "--process",
    "processes",
    multiple=True,
    type=click.Choice(tuple(_READERS)),
    help="Whose settings to check. Default: a worker's where there is no database, else all others'.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, notes included.")
@click.option("--verbose", is_flag=True, help="Show the notes of each finding: jail layers, advisories.")
def doctor(*, data_dir: Path | None, processes: tuple[str, ...], as_json: bool, verbose: bool) -> None:
    """Examine this installation. Exit code 1 when something keeps it from working, or from being safe."""
    if data_dir is None:
        environments = _from_environment(os.environ, processes)
    else:
        environments = {
            name: found for name, found in environments_of(data_dir, os.environ).items() if _asked(name, processes)
        }
    findings = asyncio.run(examine(environments, now=datetime.now(UTC), data_folder=data_dir))
    healthy = all(finding.level is not Level.PROBLEM for finding in findings)
    if as_json:
        click.echo(msgspec.json.encode(Report(healthy=healthy, findings=tuple(findings))).decode())
    else:
        _print(findings, verbose=verbose)
    if not healthy:
        raise Exit(EXIT_FAILED)


def _asked(name: str, processes: Sequence[str]) -> bool:
    return not processes or name in processes


def _from_environment(environ: Mapping[str, str], processes: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """Return the environment for each kind asked for: one process's, so workers' and others' are never both right."""
    if processes:
        return dict.fromkeys(processes, environ)
    has_database = any(environ.get(name) for name in _DATABASE_NAMES)
    is_worker = not has_database and bool(environ.get("ARTIFACT_VERIFY_KEY"))
    return dict.fromkeys(
        [WORKER] if is_worker else [name for name in _READERS if name not in {WORKER, WORKER_LARGE}], environ
    )


async def examine(
    environments: Mapping[str, Mapping[str, str]], *, now: datetime, data_folder: Path | None
) -> list[Finding]:
    """Look at everything, the settings of each process in `environments` first. Changes nothing."""
    findings = [finding for name, environ in environments.items() for finding in examine_settings(name, environ)]
    findings += await _servers(environments)
    findings.append(examine_python())
    folders = [
        Path(environ["ARTIFACT_CACHE_DIR"]) for environ in environments.values() if environ.get("ARTIFACT_CACHE_DIR")
    ]
    findings += examine_disk([data_folder or Path.cwd(), *folders])
    findings += examine_toolchains()
    required = any(environ.get("SPELL_JAIL") == "required" for environ in environments.values())
    findings += await asyncio.to_thread(examine_executor, jail_required=required, today=now.date())
    return findings


def examine_settings(name: str, environ: Mapping[str, str]) -> list[Finding]:
    """Read the settings as the process `name` would."""
    title = f"settings {name}"
    try:
        settings = load(_READERS[name], environ)
    except SettingsError as error:
        return [_setting(title, line) for line in error.problems]
    if isinstance(settings, ApiSettings) and settings.warnings:
        return [warning(title, line, "set it where you need that part") for line in settings.warnings]
    if isinstance(settings, CourierSettings) and settings.smtp_url is None:
        return [warning(title, "SMTP_URL is not set: mail is not sent", "set it where you need mail")]
    return [well(title, "complete")]


def _setting(title: str, line: str) -> Finding:
    """Split `NAME: what is wrong; what to do`, as settings report it."""
    what, _, fix = line.partition("; ")
    return problem(title, what, fix or "correct it as said")


async def _servers(environments: Mapping[str, Mapping[str, str]]) -> list[Finding]:
    """Ask each server once, however many processes use it."""
    databases = {
        environ[name]: None for environ in environments.values() for name in _DATABASE_NAMES if environ.get(name)
    }
    wires = {environ["REDIS_URL"]: None for environ in environments.values() if environ.get("REDIS_URL")}
    findings: list[Finding] = []
    for url in databases:
        findings += await examine_postgres(url, clock=lambda: datetime.now(UTC))
    for url in wires:
        findings.append(await asyncio.to_thread(examine_redis, url))
    return findings


def _print(findings: Sequence[Finding], *, verbose: bool) -> None:
    for finding in findings:
        click.echo(f"{_MARK[finding.level]}  {finding.name}: {finding.detail}")
        if finding.fix:
            click.echo(f"         -> {finding.fix}")
        if verbose or finding.level is not Level.OK:
            for note in finding.notes:
                click.echo(f"         - {note}")
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    click.echo(f"{counts[Level.PROBLEM]} problems, {counts[Level.WARNING]} warnings, {counts[Level.OK]} well")
