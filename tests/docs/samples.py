"""The samples of a guide: what stands in its fences, run in order as a reader would, and compared with what is shown.

A fence with a language that runs (`sh`, `python`) is a sample; `text` or `json` behind it is what it prints. A fence
that names a file behind its language is written into that file. A sample whose first line begins with NOT_RUN stays
unrun, for the reason the reader is given there; one that begins with NEEDS runs where that is at hand.

In what is shown `…` stands for anything: in a text within a line, in JSON within a string, or for more of a list or of
an object. Fields of JSON that end with `_ms` or `_at` differ from run to run and are compared by their kind.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from markdown_it import MarkdownIt

NOT_RUN: Final = "# not run by our tests: "
NEEDS: Final = "# needs "
ANYTHING: Final = "…"
# Reached only when something hangs: the slowest sample compiles a library of Go.
SECONDS_MAX: Final = 900
_RUNS: Final = ("sh", "python")
_SHOWS: Final = ("text", "json")
_VARIES: Final = ("_ms", "_at")
_BARE: Final = re.compile(r'(?<=": )…')
_REFUSAL: Final = re.compile(r'"status":\s*[45]\d\d')
# What a sample sets and where it goes stays so for the next, as in the one terminal of a reader.
_BEGIN: Final = 'cd "$(cat "$KEPT/folder")"; . "$KEPT/names"; set -aeuo pipefail\n'
_END: Final = 'trap \'export -p > "$KEPT/names"; pwd > "$KEPT/folder"\' EXIT\n'


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One fence of a page, and the one behind it that shows what it prints."""

    page: str
    line: int
    language: str
    file: str
    """The file it is the content of; empty when it is to be run."""
    text: str
    shown: str | None = None
    shown_language: str = ""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def not_run(self) -> str | None:
        """Why it is not run, as the page says it."""
        return self._said(NOT_RUN)

    @property
    def needs(self) -> str | None:
        """What it needs that not every machine has, as the page says it."""
        return self._said(NEEDS)

    def _said(self, begin: str) -> str | None:
        first = self.text.partition("\n")[0]
        return first.removeprefix(begin) if first.startswith(begin) else None


def samples(path: Path, page: str) -> list[Sample]:
    """Return the samples of a page in order. A drawing, which is a fence without a language, is none."""
    found: list[Sample] = []
    for token in MarkdownIt().parse(path.read_text()):
        if token.type != "fence" or not token.info:
            continue
        language, _, file = token.info.partition(" ")
        assert token.map is not None, "the parser knows where a fence is"
        line = token.map[0] + 1
        if not file and language in _SHOWS:
            silent = not found or found[-1].shown is not None or bool(found[-1].file)
            assert not silent, f"{page}:{line}: put what prints this right before it"
            found[-1] = msgspec.structs.replace(found[-1], shown=token.content, shown_language=language)
            continue
        assert file or language in _RUNS, f"{page}:{line}: nothing runs {language!r}; name a file behind it"
        found.append(Sample(page=page, line=line, language=language, file=file, text=token.content))
    return found


class Terminal:
    """A reader's terminal in a folder of its own, with nothing in the environment but what is given here."""

    def __init__(self, folder: Path, environment: Mapping[str, str], replaced: Mapping[str, str]) -> None:
        """`replaced`: what a reader puts in place of what is printed, as the address and the key."""
        self.folder = folder / "work"
        self._kept = folder / "kept"
        self._environment = {**environment, "KEPT": str(self._kept)}
        self._replaced = replaced
        for made in (self.folder, self._kept):
            made.mkdir(parents=True)
        (self._kept / "names").write_text("")
        (self._kept / "folder").write_text(str(self.folder))

    def play(self, sample: Sample) -> None:
        """Run a sample, or write its file. AssertionError when it fails or prints something else than is shown."""
        text = self._real(sample.text)
        if sample.file:
            where = Path((self._kept / "folder").read_text().strip()) / sample.file
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_text(text)
            return
        if sample.language == "python":
            program = self._kept / "sample.py"
            program.write_text(text)
            text = f'python -I -W error "{program}"'
        done = self._bash(text)
        said = f"{sample.place}\n{sample.text}\nprinted, and ended with {done.returncode}:\n{done.stdout}"
        assert done.returncode == 0, said
        if sample.shown is None:
            assert _REFUSAL.search(done.stdout) is None, said
        elif sample.shown_language == "json":
            shown = json.loads(_BARE.sub(f'"{ANYTHING}"', self._expected(sample.shown)))
            differences = list(unlike(shown, _json_of(done.stdout, said)))
            assert not differences, f"{differences}\n{said}"
        else:
            assert text_matches(self._expected(sample.shown), done.stdout), f"{said}\ninstead of:\n{sample.shown}"

    def _real(self, text: str) -> str:
        for printed, real in self._replaced.items():
            text = text.replace(printed, real)
        return text

    def _expected(self, text: str) -> str:
        """Return what a page shows; a key with its end left out stays so, and stands for any."""
        for printed, real in self._replaced.items():
            if ANYTHING not in printed:
                text = text.replace(printed, real)
        return text

    def _bash(self, text: str) -> "subprocess.CompletedProcess[str]":
        script = self._kept / "script.sh"
        script.write_text(_BEGIN + _END + text)
        return subprocess.run(
            ["/bin/bash", str(script)],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )


def _json_of(printed: str, said: str) -> Any:
    try:
        return json.loads(printed)
    except json.JSONDecodeError as error:
        raise AssertionError(said) from error


def text_matches(shown: str, printed: str) -> bool:
    """Tell whether a page shows what was printed; how lines end in spaces is nobody's business."""
    pattern = re.escape(_tidy(shown)).replace(ANYTHING, "[^\n]*?")
    return re.fullmatch(pattern, _tidy(printed)) is not None


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def unlike(shown: Any, real: Any, at: str = "$") -> Iterator[str]:
    """Yield each place where an answer is not what a page shows."""
    if shown == ANYTHING:
        return
    if isinstance(shown, dict) and isinstance(real, dict):
        yield from _unlike_objects(shown, real, at)
    elif isinstance(shown, list) and isinstance(real, list):
        yield from _unlike_lists(shown, real, at)
    elif isinstance(shown, str) and isinstance(real, str):
        if not text_matches(shown, real):
            yield f"{at} is {real!r}"
    elif shown != real or type(shown) is not type(real):
        yield f"{at} is {real!r}"


def _unlike_objects(shown: dict[str, Any], real: dict[str, Any], at: str) -> Iterator[str]:
    names = shown.keys() - {ANYTHING}
    if missing := names - real.keys():
        yield f"{at} lacks {sorted(missing)}"
    if ANYTHING not in shown and (unseen := real.keys() - names):
        yield f"{at} has {sorted(unseen)}, which the page does not show"
    for name in sorted(names & real.keys()):
        varies = name.endswith(_VARIES) and type(shown[name]) is type(real[name])
        if not varies:
            yield from unlike(shown[name], real[name], f"{at}.{name}")


def _unlike_lists(shown: list[Any], real: list[Any], at: str) -> Iterator[str]:
    wanted = [one for one in shown if one != ANYTHING]
    if len(wanted) > len(real) or (len(wanted) == len(shown) != len(real)):
        yield f"{at} has {len(real)} parts instead of {len(wanted)}"
    for number, (one, other) in enumerate(zip(wanted, real, strict=False)):
        yield from unlike(one, other, f"{at}[{number}]")
