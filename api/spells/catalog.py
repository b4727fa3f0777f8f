"""Which version a reference means, answered from memory: at most a second old, no I/O when warm."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final
from uuid import UUID

import jsonschema_rs
import msgspec

from api.auth import Principal
from api.spells.schemas import compile_schema
from domain.model import versions
from domain.model.advice import CastWarning, warnings_of
from domain.model.creator_price import PriceChange
from domain.model.errors import Code, Refusal, RefusedError
from domain.model.limits import CastLimits
from domain.model.manifest import (
    Manifest,
    OutputEncoding,
    input_bytes_max,
    limits_default,
    limits_max,
    pool_of,
)
from domain.model.messages import Pool as WorkerPool
from domain.model.spell_ref import ModuleDigest, SpellReference, parse_reference
from domain.model.versions import Version
from domain.store import spells
from domain.store.connection import Connection, Pool, statement
from domain.store.spell_prices import prices_latest
from domain.store.spells import Spell, SpellVersion

# A yank, a new version or a suspension shows after this long at the latest.
FRESH_S: Final = 1.0
# Older than this is looked up again beside the request, so that a spell in use never makes anybody wait.
RENEW_S: Final = 0.5
# References remembered, found or not; each is a few hundred bytes.
REFERENCES_MAX: Final = 10_000
# Versions whose schemas are kept compiled. One takes 3 MiB of patterns at worst, a few KiB as a rule.
COMPILED_MAX: Final = 128


class ResolvedSpell(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a spell with everything admission needs to know of it. Versions never change."""

    spell_id: UUID
    version_id: UUID
    owner: str
    """The handle of the creator's account."""
    name: str
    version: str
    """The exact version, like `1.2.0`."""
    digest: bytes
    """SHA-256 of the module, 32 bytes."""
    creator_id: UUID
    price: PriceChange | None
    """The newest its creator named, of the look-up; None: never one."""
    limits_default: CastLimits
    """What a cast gets when its caller names no limits."""
    limits_max: CastLimits
    """The creator's bounds, never above the platform's: a caller may ask for anything from 1 up to these."""
    input_bytes_max: int
    pool: WorkerPool
    """The pool of `limits_default`; `domain.model.manifest.pool_of` tells it for other limits."""
    input_validator: jsonschema_rs.Validator | None
    """Checks the decoded input; None when the manifest gives no schema for it."""
    output_encoding: OutputEncoding | None
    """Fixed by the manifest, or None: the first of json, text, base64 that fits the bytes."""
    warnings: tuple[CastWarning, ...] = ()
    """What whoever casts it should know."""


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What a reference meant when it was looked up. `version` None: nothing fits it."""

    asked_at: float
    spell: Spell | None
    resolved: ResolvedSpell | None


class Catalog:
    """Resolves references. `engine_pool` sees all accounts' spells; `clock` counts seconds and never goes back."""

    def __init__(self, engine_pool: Pool, *, clock: Callable[[], float]) -> None:
        self._pool = engine_pool
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._compiled: OrderedDict[UUID, ResolvedSpell] = OrderedDict()
        self._asking: dict[str, asyncio.Task[_Entry]] = {}

    async def resolve(self, reference: str, principal: Principal | None) -> ResolvedSpell:
        """Return the version `reference` means for `principal` (None: nobody in particular).

        Raises RefusedError: validation (not a reference), not found (nothing fits, or not for this caller), spell
        suspended; StoreError when Postgres does not answer and nothing fresh is remembered.
        """
        entry = self._entries.get(reference)
        age_s = FRESH_S if entry is None else self._clock() - entry.asked_at
        if entry is None or age_s >= FRESH_S:
            entry = await asyncio.shield(self._ask(reference))
        elif age_s >= RENEW_S:
            self._ask(reference)
        return _answer(reference, entry, None if principal is None else principal.account_id)

    def forget(self, owner: str, name: str) -> None:
        """Drop what is remembered of a spell that this process has just changed."""
        path = f"{owner}/{name}"
        for reference in [known for known in self._entries if known.partition("@")[0] == path]:
            del self._entries[reference]
        for reference in [asked for asked in self._asking if asked.partition("@")[0] == path]:
            del self._asking[reference]  # its answer may be older than the change

    def _ask(self, reference: str) -> asyncio.Task[_Entry]:
        """Return the look-up of `reference` that is under way, started when there is none."""
        task = self._asking.get(reference)
        if task is None:
            parsed = parse_reference(reference)
            task = self._asking[reference] = asyncio.create_task(self._look_up(parsed))
            task.add_done_callback(lambda done: self._asked(reference, done))
        return task

    def _asked(self, reference: str, task: asyncio.Task[_Entry]) -> None:
        current = self._asking.get(reference) is task
        if current:
            del self._asking[reference]
        if task.cancelled() or task.exception() is not None or not current:
            return
        self._entries[reference] = task.result()
        self._entries.move_to_end(reference)
        if len(self._entries) > REFERENCES_MAX:
            self._entries.popitem(last=False)

    async def _look_up(self, reference: SpellReference) -> _Entry:
        asked_at = self._clock()
        # Each statement sees its own instant in a transaction too; without one these are half the round trips.
        async with statement(self._pool) as connection:
            spell = await spells.spell_get(connection, owner=reference.owner, name=reference.name)
            version = None if spell is None else await find_version(connection, spell.id, reference)
            prices = {} if version is None else await prices_latest(connection, [version.id])
        if spell is None or version is None:
            return _Entry(asked_at=asked_at, spell=spell, resolved=None)
        resolved = _advised(self._compile(spell, version), spell, version, prices.get(version.id))
        return _Entry(asked_at=asked_at, spell=spell, resolved=resolved)

    def _compile(self, spell: Spell, version: SpellVersion) -> ResolvedSpell:
        """Return the version ready for use; its schema is compiled once, because it never changes."""
        resolved = self._compiled.get(version.id)
        if resolved is None:
            resolved = self._compiled[version.id] = _resolved(spell, version)
            if len(self._compiled) > COMPILED_MAX:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(version.id)
        return resolved


async def find_version(connection: Connection, spell_id: UUID, reference: SpellReference) -> SpellVersion | None:
    """Return the version a reference means, or None: exact and by digest yanked ones too, by range only others."""
    wanted = reference.wanted
    if isinstance(wanted, ModuleDigest):
        return await spells.version_by_digest(connection, spell_id=spell_id, digest=wanted.sha256)
    if not isinstance(wanted, Version):
        offered = await spells.versions_offered(connection, spell_id=spell_id)
        wanted = versions.highest(wanted, (_parsed(text) for text in offered))
    return None if wanted is None else await spells.version_get(connection, spell_id=spell_id, version=str(wanted))


def _parsed(text: str) -> Version:
    version = versions.parse(text)
    assert version is not None, "only parsed versions are published"
    return version


def _answer(reference: str, entry: _Entry, account_id: UUID | None) -> ResolvedSpell:
    path, _, selector = reference.partition("@")
    if entry.spell is None or not entry.spell.seen_by(account_id):
        raise RefusedError(Refusal(code=Code.NOT_FOUND, detail=f"There is no spell {path}."))
    if entry.spell.suspended_at is not None:
        raise RefusedError(Refusal(code=Code.SPELL_SUSPENDED, detail=f"The operator suspended the spell {path}."))
    if entry.resolved is None:
        detail = f"The spell {path} has no version that fits @{selector or 'latest'}."
        raise RefusedError(Refusal(code=Code.NOT_FOUND, detail=detail))
    return entry.resolved


def _advised(resolved: ResolvedSpell, spell: Spell, version: SpellVersion, price: PriceChange | None) -> ResolvedSpell:
    """Return the version with what may change about it: how its creator speaks of it, and what he asks."""
    warnings = warnings_of(
        reference=f"{spell.owner}/{spell.name}@{version.version}",
        yanked=version.yanked_at is not None,
        spell_deprecation=spell.deprecation,
        version_deprecation=version.deprecation,
    )
    if not warnings and price is None:
        return resolved
    return msgspec.structs.replace(resolved, warnings=warnings, price=price)


def _resolved(spell: Spell, version: SpellVersion) -> ResolvedSpell:
    manifest = msgspec.json.decode(version.manifest, type=Manifest)
    schema = bytes(manifest.input_schema)
    default = limits_default(manifest)
    return ResolvedSpell(
        spell_id=spell.id,
        version_id=version.id,
        owner=spell.owner,
        name=spell.name,
        version=version.version,
        digest=version.digest,
        creator_id=version.account_id,
        price=None,
        limits_default=default,
        limits_max=limits_max(manifest),
        input_bytes_max=input_bytes_max(manifest),
        pool=pool_of(default),
        input_validator=compile_schema(schema, "input_schema") if schema else None,
        output_encoding=manifest.output_encoding,
    )
