"""The OpenAPI document as an attacker reads it: requests made from it, right and wrong, and no answer is a 5xx.

OPENAPI_EXAMPLES says how many requests a route gets beside those at the edges of its schema: few in `make test`, many
in `make chaos`.
"""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from domain.model.key_rules import KeyScope
from local.servers import Servers
from tests.api.platform import Api, Rows, run_api
from tests.servers import flush_redis

EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "2"))
SEED = int(os.environ.get("OPENAPI_SEED", "1"))
# A route gets some fifty requests at the edges of its schema whatever EXAMPLES says.
CASES_MIN = 1_000
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
ADMIN_SECRET = secrets.token_hex(32)


@pytest.fixture(scope="module")
def api(
    api_database_url: str, servers: Servers, rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Api]:
    """An api whose operator's routes are open too: to be refused at the door proves nothing about what is behind."""
    del rows
    flush_redis(servers.redis_url)
    folder = tmp_path_factory.mktemp("fuzzed")
    with run_api(api_database_url, servers.redis_url, folder, ADMIN_SECRET=ADMIN_SECRET) as running:
        yield running


def test_no_request_made_from_the_document_gets_a_5xx(api: Api, rows: Rows, tmp_path: Path) -> None:
    caller = rows.account(rpm=100_000_000)
    every = {"scopes": sorted(KeyScope), "id": caller.key_id}
    rows.execute("UPDATE api_keys SET scopes = %(scopes)s WHERE id = %(id)s", every)
    rows.spell(caller, "echo")
    operations = sum(len(methods) for methods in api.http.get("/openapi.json").json()["paths"].values())
    checks = ["--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing"]
    amount = ["--max-examples", str(EXAMPLES), "--seed", str(SEED), "--suppress-health-check", "all"]
    headers = ["-H", f"Authorization: {caller.headers['authorization']}", "-H", f"X-Admin-Secret: {ADMIN_SECRET}"]
    done = subprocess.run(
        [str(SCHEMATHESIS), "run", f"{api.url}/openapi.json", *checks, *amount, *headers, "--request-timeout", "20"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr
    tested = re.search(r"^ +Tested: (\d+)$", done.stdout, re.MULTILINE)
    cases = re.search(r"^ +(\d+) generated, (\d+) passed", done.stdout, re.MULTILINE)
    assert tested is not None, done.stdout
    assert cases is not None, done.stdout
    assert int(tested[1]) == operations
    assert cases[1] == cases[2]
    assert int(cases[1]) >= CASES_MIN
    assert api.process.poll() is None
