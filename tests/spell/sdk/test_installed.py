"""What a user gets: the wheel with its base dependencies alone. Its guide, docs/sdk.md, is run by tests/docs."""

import subprocess
from pathlib import Path

import pytest

from tests.docs.wheel import install_wheel

SERVER_PARTS = ["litestar", "psycopg", "redis", "dramatiq", "wasmtime", "uvicorn", "argon2", "cryptography", "stripe"]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_wheel(tmp_path_factory.mktemp("installed"))


def test_the_base_install_has_nothing_of_the_servers_dependencies(python: Path) -> None:
    code = (
        "import importlib.util, pathlib, spell\n"
        f"print([name for name in {SERVER_PARTS} if importlib.util.find_spec(name)])\n"
        "print((pathlib.Path(spell.__file__).parent / 'py.typed').exists())\n"
        "print(all(hasattr(spell, name) for name in spell.__all__))\n"
        "try:\n"
        "    spell.Client(api_key='k', base_url='http://127.0.0.1:1', retries_max=0).cast('a/b')\n"
        "except spell.ConnectionFailed as error:\n"
        "    print(type(error).__name__)\n"
    )
    done = subprocess.run(
        [str(python), "-I", "-W", "error", "-c", code],
        env={},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[]", "True", "True", "ConnectionFailed"]
