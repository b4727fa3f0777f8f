"""What a planted fault is: a small, believable mistake in product code, and the tests that must notice it."""

from pathlib import Path

import msgspec

REPOSITORY = Path(__file__).resolve().parents[2]


class FaultError(Exception):
    """A fault that cannot be planted: the code it was written for has changed. The text says how to mend it."""


class Edit(msgspec.Struct, frozen=True):
    """`old` stands exactly once in `file`; planted, it reads `new`."""

    file: str
    old: str
    new: str

    def planted(self, text: str) -> str:
        """Return the file's text with the mistake in it."""
        found = text.count(self.old)
        if found != 1:
            message = (
                f"{self.file}: the text of a planted fault is there {found} times instead of once; "
                f"write the fault anew for the code as it is now: {self.old!r}"
            )
            raise FaultError(message)
        if self.old == self.new:
            message = f"{self.file}: a planted fault that changes nothing: {self.old!r}"
            raise FaultError(message)
        return text.replace(self.old, self.new)


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake, and the ids of the tests of which each must fail while it is there."""

    name: str
    harm: str
    """What a caller or the operator would suffer, in one sentence."""
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]

    def plant(self, root: Path) -> dict[Path, bytes]:
        """Put the mistake into the tree at `root` and return the files as they were."""
        texts: dict[Path, str] = {}
        for edit in self.edits:
            path = root / edit.file
            texts[path] = edit.planted(texts.get(path) or path.read_text(encoding="utf-8"))
        before = {path: path.read_bytes() for path in texts}
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
        return before


def fault(name: str, harm: str, *edits: tuple[str, str, str], tests: tuple[str, ...]) -> Fault:
    """Return a fault; each of `edits` is (file, old, new)."""
    return Fault(name=name, harm=harm, edits=tuple(Edit(*edit) for edit in edits), tests=tests)
