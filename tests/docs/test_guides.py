"""What README and docs/ show works: every sample runs, in order, against one platform, and prints what is shown."""

import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from standardwebhooks.webhooks import Webhook

from domain.environment import Reader
from domain.model.key_rules import ACCOUNT_SCOPES
from domain.settings import (
    ApiSettings,
    CourierSettings,
    LedgerSettings,
    MigrationSettings,
    ReleaseSettings,
    SchedulerSettings,
    WorkerSettings,
)
from spell.building.toolchains import has_package, rust_compilers
from tests.api.platform import REPOSITORY
from tests.docs.samples import Sample, Terminal, samples, text_matches, unlike
from tests.spell.sdk.answers import DONE
from tests.stack import Stack

DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.glob("*.md"))]


def sheet(page: Path) -> str:
    """Return a page's name as it is told: README.md, docs/cli.md."""
    return page.relative_to(REPOSITORY).as_posix()


# What a page prints in place of the reader's own platform and key.
ADDRESS, KEY = "http://127.0.0.1:8080", "sk_live_…"
DATABASE, REDIS = "postgresql://spell@localhost/spell", "redis://localhost:6379"
# Their samples are cast by the account whose key `make run` prints; all others by one nobody has used before.
OF_DEV = ("README.md", "docs/cli.md", "docs/first-cast.md", "docs/write-a-spell.md")
AT_HAND: Mapping[str, Callable[[], bool]] = {
    "the extra `toolchain`": lambda: has_package("ziglang") and has_package("go"),
    "Rust with the target wasm32-wasip1 or wasm32-wasi": lambda: bool(rust_compilers()),
}
# Every sample that is not run, by its page, and how many. Add one only for what no test can do, and say why in it.
NOT_RUN: Mapping[str, int] = {"docs/cli.md": 1, "docs/self-hosting.md": 2, "docs/write-a-spell.md": 1}
ALL = {sheet(page): samples(page, sheet(page)) for page in PAGES}
RECEIVER = "def receive("


def is_receiver(sample: Sample) -> bool:
    """Tell whether a sample is a function for a server of the reader's; those have a test of their own."""
    return RECEIVER in sample.text


def of_make(sample: Sample) -> bool:
    """Tell whether a sample is `make` alone: it is how this test got here, and the demo has tests of its own."""
    return all(line.startswith("make ") for line in sample.text.splitlines())


def key_of(platform: Stack, page: str) -> str:
    if page in OF_DEV:
        return platform.owner_key
    account = platform.account()
    scopes = {"scopes": sorted(ACCOUNT_SCOPES), "id": account.key_id}
    platform.rows.execute("UPDATE api_keys SET scopes = %(scopes)s WHERE id = %(id)s", scopes)
    return account.key


@pytest.mark.parametrize("page", [name for name, found in ALL.items() if found])
def test_the_samples_of_a_page_do_what_it_says(
    page: str, platform: Stack, environment: dict[str, str], tmp_path: Path
) -> None:
    replaced = {
        ADDRESS: platform.url,
        KEY: key_of(platform, page),
        DATABASE: platform.database_url,
        REDIS: platform.redis_url,
    }
    terminal = Terminal(tmp_path, environment, replaced)
    # The reader stands in a checkout, of which samples may read something.
    for folder in ("spells", "workers"):
        (terminal.folder / folder).symlink_to(REPOSITORY / folder)
    for sample in ALL[page]:
        missing = sample.needs is not None and not AT_HAND[sample.needs]()
        if sample.not_run is None and not missing and not is_receiver(sample) and not of_make(sample):
            terminal.play(sample)


def test_what_is_not_run_says_why_and_is_counted() -> None:
    unrun = {page: [sample.not_run for sample in found if sample.not_run is not None] for page, found in ALL.items()}
    assert {page: len(reasons) for page, reasons in unrun.items() if reasons} == NOT_RUN
    assert all(len(reason.split()) > 2 for reasons in unrun.values() for reason in reasons)


def test_nearly_everything_runs_and_what_depends_on_the_machine_is_known() -> None:
    everything = [sample for found in ALL.values() for sample in found]
    run = [sample for sample in everything if sample.not_run is None and sample.needs is None]
    assert len(run) > len(everything) * 2 // 3
    assert {sample.needs for sample in everything if sample.needs is not None} <= set(AT_HAND)


def test_every_guide_stands_in_the_index_and_every_link_leads_somewhere() -> None:
    index = (DOCS / "README.md").read_text()
    assert [page.name for page in DOCS.glob("*.md") if page.name != "README.md" and f"({page.name})" not in index] == []
    links = [
        (page, link)
        for page in PAGES
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert links == []


@pytest.mark.parametrize(
    "sample", [one for found in ALL.values() for one in found if is_receiver(one)], ids=lambda one: one.place
)
def test_a_receiver_takes_what_is_signed_and_refuses_what_is_not(
    sample: Sample, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "whsec_" + "c2VjcmV0" * 5
    monkeypatch.setitem(os.environ, "WEBHOOK_SECRET", secret)
    names: dict[str, Any] = {}
    exec(compile(sample.text, sample.place, "exec"), names)  # noqa: S102  # the sample under test
    now = datetime.now(UTC)
    cast = {**DONE, "cost": {"held_micros": 2, "cost_micros": 1}}
    body = msgspec.json.encode({"type": "cast.succeeded", "timestamp": now, "data": cast})
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("evt_1", now, body.decode()),
    }
    assert names["receive"](body, headers) == 204
    assert DONE["id"] in capsys.readouterr().out
    assert names["receive"](body + b" ", headers) == 400
    assert capsys.readouterr().out == ""


class Asked(Reader):
    """Remembers every name it is asked for."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(environ)
        self.names: set[str] = set()

    def text(self, *names: str) -> str | None:
        self.names |= set(names)
        return super().text(*names)


KINDS = (
    ApiSettings,
    WorkerSettings,
    LedgerSettings,
    CourierSettings,
    SchedulerSettings,
    ReleaseSettings,
    MigrationSettings,
)
# Read by the library that counts, not by our settings.
OF_LIBRARIES = {"PROMETHEUS_MULTIPROC_DIR"}


def test_readme_lists_every_setting_and_no_other() -> None:
    asked = Asked({})
    for kind in KINDS:
        kind.read(asked)
    # Some are asked for only where others are set.
    again = Asked(dict.fromkeys(asked.names, "x"))
    for kind in KINDS:
        kind.read(again)
    table = (REPOSITORY / "README.md").read_text().partition("## Settings")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`([A-Z0-9_]+)`", row)}
    assert listed == asked.names | again.names | OF_LIBRARIES


def test_readme_begins_with_the_two_commands_and_both_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    commands = [re.findall(r"^make ([a-z-]+)", sample.text, re.MULTILINE) for sample in ALL["README.md"]]
    assert commands[0] == ["demo", "test"]
    assert {name for names in commands for name in names} <= targets


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a … c", "a b c\n", True),
        ("a … c", "a b\nc", False),
        ("a.c", "abc", False),
        ("", "anything", False),
    ],
)
def test_a_text_is_compared(shown: str, printed: str, *, same: bool) -> None:
    assert text_matches(shown, printed) is same


@pytest.mark.parametrize(
    ("shown", "real", "same"),
    [
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1, "…": "…"}, {"a": 1, "b": 2}, True),
        ({"a": 1, "…": "…"}, {"b": 2}, False),
        ({"a": "…"}, {"a": [1]}, True),
        ({"a_ms": 1.5}, {"a_ms": 9.0}, True),
        ({"a_ms": 1.5}, {"a_ms": None}, False),
        ([1, "…"], [1, 2, 3], True),
        ([1, "…"], [2, 2, 3], False),
        ([1], [1, 2], False),
        ("x-…", "x-1", True),
        ("x-…", "y-1", False),
    ],
)
def test_an_answer_is_compared(shown: object, real: object, *, same: bool) -> None:
    assert (not list(unlike(shown, real))) is same


def test_a_sample_that_fails_or_prints_something_else_is_noticed(environment: dict[str, str], tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, environment, {})
    sample = Sample(page="a", line=1, language="sh", file="", text="KEPT_HERE=1; mkdir -p inner; cd inner")
    terminal.play(sample)
    terminal.play(replace(sample, text='echo "$KEPT_HERE ${PWD##*/}"', shown="1 inner", shown_language="text"))
    for text, shown in (("false; true", None), ("echo 1", "2"), ("""echo '{"status": 402}'""", None)):
        with pytest.raises(AssertionError):
            terminal.play(replace(sample, text=text, shown=shown, shown_language="text"))
