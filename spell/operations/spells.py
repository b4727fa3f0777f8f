"""Spells: find, publish, change."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from spell.core.exchange import JSON, Reply, Request, json_body, query_of
from spell.core.listing import PAGE_SIZE_MAX, Listing, listing
from spell.core.names import spell_path, version_path
from spell.core.operation import Operation, decoded, nothing, raw
from spell.models.page import Page
from spell.models.spells import Spell, SpellDetail, SpellVersion

WASM: Final = "application/wasm"
# Reading 16 MiB and compiling them in a jailed process.
_PUBLISH_PATIENCE_S: Final = 120.0
_JSON_HEADERS: Final = {"content-type": JSON}

_spell: Final = decoded(Spell)
_detail: Final = decoded(SpellDetail)
_version: Final = decoded(SpellVersion)
_version_page: Final = decoded(Page[SpellVersion])


def list_spells(*, query: str | None = None, tag: str | None = None, page_size: int = PAGE_SIZE_MAX) -> Listing[Spell]:
    """Return the spells there are, newest first: public ones and your own. `query` is looked for in names and texts."""
    return listing("/v1/spells", Spell, query_of(q=query, tag=tag, limit=page_size))


def get(spell: str) -> Operation[SpellDetail]:
    """Return a spell (`owner/name`) and the version that `@latest` means."""
    return Operation(request=Request(method="GET", path=spell_path(spell)), decode=_detail)


def versions(spell: str) -> Operation[tuple[SpellVersion, ...]]:
    """Return every version of a spell, newest first, yanked ones too."""
    return Operation(request=Request(method="GET", path=f"{spell_path(spell)}/versions"), decode=_all_versions)


def version(spell: str, version: str = "latest") -> Operation[SpellVersion]:
    """Return one version: `1.2.0`, the newest of `1.2` or `1`, `latest`, or `sha256:...`."""
    return Operation(request=Request(method="GET", path=version_path(spell, version)), decode=_version)


def create(
    name: str, *, description: str = "", visibility: str = "public", idempotency_key: str | None = None
) -> Operation[Spell]:
    """Make a spell without versions under your own handle. `publish` makes it as well, so this is seldom needed."""
    body = {"name": name, "description": description, "visibility": visibility}
    return Operation(
        request=Request(method="POST", path="/v1/spells", headers=_JSON_HEADERS, body=json_body(body)),
        decode=_spell,
        creates=True,
        idempotency_key=idempotency_key,
    )


def publish(
    spell: str, version: str, module: bytes, manifest: Mapping[str, Any] | bytes | None = None
) -> Operation[SpellVersion]:
    """Publish a version. It never changes: the same module again is fine, another is a Conflict.

    `module` is WebAssembly (16 MiB at most). `manifest` is the content of `spell.json`, as a mapping or its JSON; None
    leaves the one inside the module, if there is one. ValidationError says what is wrong with either, and where.
    """
    if manifest is None:
        kind, body = WASM, module
    else:
        kind, body = _form(module, manifest if isinstance(manifest, bytes) else json_body(manifest))
    return Operation(
        request=Request(method="PUT", path=version_path(spell, version), headers={"content-type": kind}, body=body),
        decode=_version,
        patience_s=_PUBLISH_PATIENCE_S,
    )


def module(spell: str, version: str = "latest") -> Operation[bytes]:
    """Return the module of your own spell, byte for byte as it was published."""
    path = f"{version_path(spell, version)}/module"
    return Operation(request=Request(method="GET", path=path), decode=raw, patience_s=_PUBLISH_PATIENCE_S)


def edit(spell: str, *, description: str | None = None, visibility: str | None = None) -> Operation[Spell]:
    """Change the description of your own spell, or who sees it; None leaves it."""
    given = {"description": description, "visibility": visibility}
    body = json_body({name: value for name, value in given.items() if value is not None})
    return Operation(
        request=Request(method="PATCH", path=spell_path(spell), headers=_JSON_HEADERS, body=body), decode=_spell
    )


def yank(spell: str, version: str) -> Operation[SpellVersion]:
    """Take a version back: ranges pass it by, its exact name and its digest still mean it."""
    return Operation(request=Request(method="POST", path=f"{version_path(spell, version)}/yank"), decode=_version)


def retire(spell: str) -> Operation[None]:
    """Retire your own spell: lists and ranges lose it, exact versions and digests can still be cast."""
    return Operation(request=Request(method="DELETE", path=spell_path(spell)), decode=nothing)


def _all_versions(reply: Reply) -> tuple[SpellVersion, ...]:
    return _version_page(reply).data


def _form(module: bytes, manifest: bytes) -> tuple[str, bytes]:
    """Return the media type and the bytes of a form with both parts.

    The boundary is made of what it separates, so that a retry sends the same bytes, and no content can hold it.
    """
    boundary = hashlib.sha256(module + manifest).hexdigest()
    parts = (("module", WASM, module), ("spell.json", JSON, manifest))
    body = b"".join(
        b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\nContent-Type: %b\r\n\r\n%b\r\n'
        % (boundary.encode(), name.encode(), name.encode(), kind.encode(), content)
        for name, kind, content in parts
    )
    return f"multipart/form-data; boundary={boundary}", body + b"--%b--\r\n" % boundary.encode()
