"""What an examination found: one finding for each thing looked at, and with each that is not well what mends it."""

import enum

import msgspec


class Level(enum.StrEnum):
    """How bad it is. A problem keeps the platform from working or from being safe; a warning does not."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was looked at."""

    name: str
    level: Level
    detail: str
    fix: str = ""
    """What to do; empty where nothing need be done."""
    notes: tuple[str, ...] = ()


def well(name: str, detail: str, *, notes: tuple[str, ...] = ()) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(name=name, level=Level.OK, detail=detail, notes=notes)


def warning(name: str, detail: str, fix: str, *, notes: tuple[str, ...] = ()) -> Finding:
    """Return a finding the platform works with."""
    assert fix, "a finding says what to do"
    return Finding(name=name, level=Level.WARNING, detail=detail, fix=fix, notes=notes)


def problem(name: str, detail: str, fix: str, *, notes: tuple[str, ...] = ()) -> Finding:
    """Return a finding the platform does not work with, or not safely."""
    assert fix, "a finding says what to do"
    return Finding(name=name, level=Level.PROBLEM, detail=detail, fix=fix, notes=notes)
