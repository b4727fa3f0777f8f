"""Names in paths, each quoted, so that none of them can lead to another place."""

from urllib.parse import quote

from spell.models.casts import Cast


def segment(text: str) -> str:
    """Return `text` as one segment of a path. ValueError for what servers would take for another path."""
    if text in {"", ".", ".."}:
        message = f"{text!r} names nothing"
        raise ValueError(message)
    return quote(text, safe="")


def cast_path(cast: Cast | str) -> str:
    """Return the path of a cast, given itself or its id."""
    return f"/v1/casts/{segment(cast if isinstance(cast, str) else cast.id)}"


def spell_path(spell: str) -> str:
    """Return the path of a spell, given `owner/name`. ValueError for anything else."""
    owner, slash, name = spell.partition("/")
    if not slash or "@" in spell or "/" in name:
        message = f"{spell!r} is no spell: write owner/name"
        raise ValueError(message)
    return f"/v1/spells/{segment(owner)}/{segment(name)}"


def version_path(spell: str, version: str) -> str:
    """Return the path of a version: `1.2.0`, `1.2`, `1`, `latest` or `sha256:...`."""
    return f"{spell_path(spell)}/versions/{segment(version)}"
