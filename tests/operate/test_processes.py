"""What each process on one machine is told."""

from pathlib import Path

import pytest

from domain.settings import (
    ApiSettings,
    CourierSettings,
    LedgerSettings,
    SchedulerSettings,
    SettingsError,
    WorkerSettings,
    load,
)
from operate.dev_secrets import DevSecrets
from operate.processes import full_environment, plans

PROCFILE = Path(__file__).parents[2] / "Procfile"
KINDS = {
    "api": ApiSettings,
    "worker": WorkerSettings,
    "worker-large": WorkerSettings,
    "ledger": LedgerSettings,
    "courier": CourierSettings,
    "scheduler": SchedulerSettings,
}
OURS = "postgresql://u:p@127.0.0.1:5432/ours"
THEIRS = "postgresql://u:p@127.0.0.1:5432/theirs"


def environment_of(folder: Path, **environ: str) -> dict[str, str]:
    return full_environment(
        {"PATH": "/bin", **environ},
        kept=DevSecrets(folder).settings,
        database_url=OURS,
        redis_url="redis://127.0.0.1",
        port=8081,
        artifact_folder=folder / "artifacts",
    )


def test_every_process_of_the_procfile_starts_with_the_settings_it_is_given(tmp_path: Path) -> None:
    named = [line.partition(":")[0] for line in PROCFILE.read_text().splitlines() if line[:1].isalpha()]
    environment = environment_of(tmp_path)
    planned = {plan.name: plan for plan in plans(environment)}
    assert sorted(planned) == sorted(name for name in named if name != "release")
    for name, plan in planned.items():
        load(KINDS[name], plan.environment)


def test_the_workers_can_verify_what_the_api_signs(tmp_path: Path) -> None:
    api, worker = (
        load(KINDS[name], plan.environment)
        for plan in plans(environment_of(tmp_path))
        for name in [plan.name]
        if name in {"api", "worker"}
    )
    assert isinstance(api, ApiSettings)
    assert isinstance(worker, WorkerSettings)
    assert worker.artifact_verify_key.reveal() != api.artifact_signing_key.reveal()
    assert worker.worker_token == api.worker_token
    assert worker.artifact_url == "http://127.0.0.1:8081"


def test_a_setting_of_the_environment_wins_over_what_is_kept(tmp_path: Path) -> None:
    environment = environment_of(tmp_path, WORKER_TOKEN="0123456789abcdef0123456789abcdef", ADMIN_SECRET="")
    assert environment["WORKER_TOKEN"] == "0123456789abcdef0123456789abcdef"
    assert environment["ADMIN_SECRET"] == DevSecrets(tmp_path).settings["ADMIN_SECRET"]


def test_a_url_of_another_database_is_not_mixed_up_with_ours(tmp_path: Path) -> None:
    environment = environment_of(tmp_path, ENGINE_DATABASE_URL=THEIRS, MIGRATIONS_DATABASE_URL=THEIRS)
    assert THEIRS not in environment.values()
    given = environment_of(tmp_path, DATABASE_URL=OURS, ENGINE_DATABASE_URL=THEIRS)
    assert given["ENGINE_DATABASE_URL"] == THEIRS


def test_one_metrics_port_is_not_given_to_six_processes(tmp_path: Path) -> None:
    assert "METRICS_PORT" not in environment_of(tmp_path, METRICS_PORT="9000")


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ARTIFACT_SIGNING_KEY"):
        environment_of(tmp_path, ARTIFACT_SIGNING_KEY="short")


def test_a_damaged_file_of_secrets_is_not_replaced(tmp_path: Path) -> None:
    kept = DevSecrets(tmp_path).settings
    assert DevSecrets(tmp_path).settings == kept
    (tmp_path / "secrets.json").write_text("{half")
    with pytest.raises(Exception, match=r"secrets\.json is damaged .* start on another folder"):
        DevSecrets(tmp_path)
    assert (tmp_path / "secrets.json").read_text() == "{half"
