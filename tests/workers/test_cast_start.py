"""A worker that cannot run casts does not start, and says why in one line."""

import base64
import os
import secrets
import subprocess
import sys
from pathlib import Path

# The worker's main, on a machine whose sandboxes end as soon as they begin.
WITHOUT_SANDBOX = "import sys, workers.cast; sys.executable = '/bin/false'; sys.exit(workers.cast.main())"


def test_a_worker_without_a_sandbox_says_so_in_one_line(tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "ARTIFACT_URL": "http://127.0.0.1:1",
        "ARTIFACT_VERIFY_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "ARTIFACT_CACHE_DIR": str(tmp_path),
        "WORKER_TOKEN": secrets.token_hex(32),
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT_SANDBOX], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("no sandbox comes up on this machine: ")
    assert "spell doctor" in line
