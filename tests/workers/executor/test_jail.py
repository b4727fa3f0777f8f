"""The jail from inside (a probe that enters it and tries everything) and from outside (a living child in /proc)."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.executor import jail
from workers.executor.jail import JailError, enter, probe
from workers.executor.parent import Executor
from workers.executor.protocol import ExecuteResult, JailMode
from workers.executor.seccomp import build_filter

PROBE = Path(__file__).with_name("jail_probe.py")


def run_probe(mode: JailMode, folder: Path) -> dict[str, str]:
    (folder / "artifact").write_bytes(b"machine code")
    (folder / "link").symlink_to("/etc/passwd")
    folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, str(PROBE), mode, str(folder), str(os.getpid())],
        capture_output=True,
        check=True,
        env={},
        timeout=120,
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the probe's call numbers are those of x86-64")
def test_every_probe_is_refused_inside_the_jail(tmp_path: Path) -> None:
    results = run_probe(JailMode.REQUIRED, tmp_path)
    environment = results.pop("environment")
    controls = {name: results.pop(name) for name in list(results) if name.startswith("CONTROL")}
    assert set(controls.values()) == {"ALLOWED"}, controls
    # Python itself sets LC_CTYPE when it finds none; nothing of the parent's is left.
    assert set(json.loads(environment)) <= {"LC_CTYPE"}
    assert len(results) >= 60
    assert {name: result for name, result in results.items() if not result.startswith("refused")} == {}
    # EPERM or EACCES says that a guard refused; another error would only say that the probe asked badly.
    odd = {name: result for name, result in results.items() if result.split()[1] not in ("EPERM", "EACCES")}
    # Python words these two itself.
    assert set(odd) <= {"thread", "raise a limit"}, odd
    assert (tmp_path / "artifact").read_bytes() == b"machine code"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifact", "link"]


def test_the_same_probes_succeed_without_the_jail(tmp_path: Path) -> None:
    results = run_probe(JailMode.OFF, tmp_path)
    results.pop("environment")
    assert set(results.values()) == {"ALLOWED"}, results
    assert len(results) >= 8


def test_a_living_child_as_the_kernel_sees_it(
    shared_executor: Executor, make_program: Callable[..., bytes], cast: Callable[..., ExecuteResult]
) -> None:
    cast(make_program(""))
    pid = shared_executor.child_pid
    assert pid is not None
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    assert len(tasks) == 2, "the cast's thread and the epoch ticker"
    for task in tasks:
        status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        assert status["Seccomp"] == "2"
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapInh"], 16) == 0
        if os.geteuid() == 0:
            assert "0" not in status["Uid"].split()
            assert int(status["CapBnd"], 16) == 0
            assert status["Groups"].strip() == ""
    assert os.getsid(pid) == pid
    # The kernel gives the files of a process that may not be traced to root.
    assert Path(f"/proc/{pid}/environ").stat().st_uid == 0
    assert Path(f"/proc/{pid}/environ").read_bytes() == b""
    if os.geteuid() == 0:
        assert Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert [line.split()[-3] for line in limits.splitlines() if line.startswith(("Max file size", "Max core"))] == [
        "0",
        "0",
    ]
    assert "unlimited" not in next(line for line in limits.splitlines() if line.startswith("Max cpu")).split()[3]


def test_all_essential_layers_hold_here(shared_executor: Executor) -> None:
    facts = shared_executor.start()
    assert [layer for layer in facts.jail if layer.essential and not layer.active] == []
    assert {"landlock", "seccomp", "no_new_privs", "user"} <= {layer.name for layer in facts.jail}


def test_probe_names_what_the_kernel_offers_without_entering() -> None:
    before = Path("/proc/self/status").read_text().count("Seccomp:\t0")
    layers = {layer.name: layer for layer in probe()}
    assert layers["landlock"].active
    assert layers["seccomp"].active
    assert Path("/proc/self/status").read_text().count("Seccomp:\t0") == before


def test_required_refuses_when_a_layer_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise OSError(38, "not in this kernel")

    # Every step that would change this very process is replaced; what is tested is the verdict over their results.
    for step in ("_own_session", "_isolate_network", "limit_resources", "_drop_capabilities", "_change_user"):
        monkeypatch.setattr(jail, step, lambda *_: "as told")
    for step in ("_clear_capabilities", "_die_with", "_no_new_privileges", "_filter_calls"):
        monkeypatch.setattr(jail, step, lambda *_, **__: "as told")
    monkeypatch.setattr(jail, "_lock_files", missing)
    arguments = {
        "parent_pid": os.getppid(), "readable_folder": None, "write_descriptors": (1,), "moves_cpu_limit": False,
        "address_space_bytes": 1, "start_threads": lambda: None,
    }  # fmt: skip
    with pytest.raises(JailError, match=r"landlock .*not in this kernel"):
        enter(JailMode.REQUIRED, **arguments)
    assert [layer.name for layer in enter(JailMode.AUTO, **arguments) if not layer.active] == ["landlock"]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_filter_is_well_formed(machine: str) -> None:
    steps = build_filter(machine, (3,), moves_cpu_limit=True)
    assert len(steps) % 8 == 0
    count = len(steps) // 8
    for index in range(count):
        code, if_true, if_false = (
            int.from_bytes(steps[8 * index : 8 * index + 2], "little"),
            *steps[8 * index + 2 : 8 * index + 4],
        )
        if code & 0x07 == 0x05:
            assert index + 1 + max(if_true, if_false) < count, "a jump stays inside"
    assert steps[-8:-6] == b"\x06\x00", "it ends with a verdict"


# The child is stopped first: a running one would also notice that its socket closed.
def test_child_dies_with_its_parent(library_arguments: tuple[str, str], tmp_path: Path) -> None:
    folder, verify_key = library_arguments
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys\nfrom pathlib import Path\n"
        "from workers.executor.parent import Executor, ExecutorConfig\n"
        "e = Executor(ExecutorConfig(artifact_folder=Path(sys.argv[1]), verify_key=sys.argv[2]))\n"
        "e.start()\nprint(e.child_pid, flush=True)\nos.kill(e.child_pid, 19)\nos.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), folder, verify_key], capture_output=True, check=False, timeout=120
    )
    pid = int(done.stdout)
    assert done.returncode == -9
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or "Z (zombie)" in Path(f"/proc/{pid}/status").read_text())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
