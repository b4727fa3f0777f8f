"""What a creator says about a version: decoded strictly, checked, and turned into the bounds of its casts."""

import enum
import re
from typing import Annotated, Final

import msgspec

from domain.model.creator_price import PRICE_MICROS_MAX, CreatorPrice
from domain.model.errors import Code, Fault, RefusedError, refuse
from domain.model.limits import (
    DEFAULT_POOL_MEMORY_BYTES_MAX,
    DEFAULT_POOL_WALL_MS_MAX,
    INPUT_BYTES_DEFAULT,
    INPUT_BYTES_MAX,
    KIB,
    LIMITS_MAX,
    UNITS_MAX,
    CastLimits,
)
from domain.model.messages import Pool
from domain.model.schema import WORK_BYTES_MAX, schema_faults, work_of

# Two schemas of 64 KiB and generous words around them.
MANIFEST_BYTES_MAX: Final = 256 * KIB
DESCRIPTION_CHARACTERS_MAX: Final = 2_000
TAGS_MAX: Final = 10
# One page of linear memory is the least a module can declare.
MEMORY_BYTES_MIN: Final = 64 * KIB
NO_SCHEMA: Final = msgspec.Raw()

_TAG: Final = r"^[a-z0-9][a-z0-9-]{0,31}$"
# Postgres can hold no NUL in a text, and would fail on the whole list of spells for one that has it. Raw NULs cannot
# stand in JSON, so an escape is the only way in: one that follows an even number of backslashes.
_NUL_ESCAPE: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
# "Expected `int` <= 300000 - at `$.limits.wall_ms`": msgspec puts the place at the end of what is wrong.
_PLACE: Final = re.compile(r"^(?P<message>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)

_Fuel = Annotated[int, msgspec.Meta(ge=1, le=LIMITS_MAX.fuel)]
_WallMs = Annotated[int, msgspec.Meta(ge=1, le=LIMITS_MAX.wall_ms)]
_MemoryBytes = Annotated[int, msgspec.Meta(ge=MEMORY_BYTES_MIN, le=LIMITS_MAX.memory_bytes)]
_OutputBytes = Annotated[int, msgspec.Meta(ge=1, le=LIMITS_MAX.output_bytes)]
_LogBytes = Annotated[int, msgspec.Meta(ge=0, le=LIMITS_MAX.log_bytes)]
_InputBytes = Annotated[int, msgspec.Meta(ge=0, le=INPUT_BYTES_MAX)]
_Text = Annotated[str, msgspec.Meta(max_length=DESCRIPTION_CHARACTERS_MAX)]
_Tag = Annotated[str, msgspec.Meta(pattern=_TAG)]
_Label = Annotated[str, msgspec.Meta(max_length=64)]
_License = Annotated[str, msgspec.Meta(max_length=100)]
_PriceMicros = Annotated[int, msgspec.Meta(ge=0, le=PRICE_MICROS_MAX)]


class OutputEncoding(enum.StrEnum):
    """How the bytes on stdout are shown as `output`."""

    JSON = "json"
    TEXT = "text"
    BASE64 = "base64"


class LimitsAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Bounds a caller asks for; None leaves the spell's own. Same units as `CastLimits`."""

    fuel: _Fuel | None = None
    wall_ms: _WallMs | None = None
    memory_bytes: _MemoryBytes | None = None
    output_bytes: _OutputBytes | None = None
    log_bytes: _LogBytes | None = None


class ManifestLimits(LimitsAsked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The creator's bounds. One that is given is both what a cast gets and the most it can ask for."""

    input_bytes: _InputBytes | None = None


class Units(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the spell counts by calling `spell.report_units`, and the most that one cast pays for."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9 _-]{0,31}$")]
    """Of one, like `page`: receipts say it."""
    max: Annotated[int, msgspec.Meta(ge=1, le=UNITS_MAX)]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The content of `spell.json`, or of the custom section `spell.manifest`."""

    name: _Label | None = None
    """The spell's own name and version, for tools; where they are published they must be these."""
    version: _Label | None = None
    description: _Text = ""
    input_schema: msgspec.Raw = NO_SCHEMA
    """A JSON Schema as it was written; empty when there is none."""
    output_schema: msgspec.Raw = NO_SCHEMA
    limits: ManifestLimits = ManifestLimits()
    output_encoding: OutputEncoding | None = None
    tags: Annotated[tuple[_Tag, ...], msgspec.Meta(max_length=TAGS_MAX)] = ()
    license: _License = ""
    price_micros: _PriceMicros = 0
    """What the creator asks for each cast that gives a result, in micros of a US dollar."""
    price_per_output_kib_micros: _PriceMicros = 0
    """And for each KiB of output it begins."""
    price_per_unit_micros: _PriceMicros = 0
    """And for each of `units` that it reports."""
    units: Units | None = None


def parse_manifest(raw: bytes) -> Manifest:
    """Return the manifest in `raw` (JSON), its schemas checked for form, size, depth and references.

    RefusedError (validation) names the place of each fault. Schemas are compiled by the edge, which knows the engine.
    """
    if len(raw) > MANIFEST_BYTES_MAX:
        raise refuse_manifest(
            Fault(
                location="manifest",
                message=f"it has {len(raw)} bytes, more than {MANIFEST_BYTES_MAX}",
                fix="Shorten its schemas and texts.",
            )
        )
    if _NUL_ESCAPE.search(raw) is not None:
        raise refuse_manifest(
            Fault(location="manifest", message="it has a NUL character, \\u0000", fix="Take the character out.")
        )
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refuse_manifest(_fault_of(error)) from error
    faults = [
        fault
        for location, schema in (("input_schema", manifest.input_schema), ("output_schema", manifest.output_schema))
        if bytes(schema)
        for fault in schema_faults(bytes(schema), location)
    ]
    if faults:
        raise refuse_manifest(*faults)
    checkable = _checkable_bytes(manifest)
    if (manifest.limits.input_bytes or 0) > checkable:
        raise refuse_manifest(
            Fault(
                location="limits.input_bytes",
                message=f"checking {manifest.limits.input_bytes} bytes against this input schema could take too long",
                fix=f"Ask for at most {checkable} bytes, or make the schema less detailed.",
            )
        )
    return manifest


def check_place(manifest: Manifest, *, name: str, version: str) -> None:
    """Raise RefusedError (validation) when the manifest names another spell or version than it is published as."""
    places = (("name", manifest.name, name), ("version", manifest.version, version))
    faults = tuple(
        Fault(
            location=f"manifest.{field}",
            message=f"it says {said!r}, but {asked!r} is being published",
            fix="Make both equal, or take the field out of the manifest.",
        )
        for field, said, asked in places
        if said not in {None, asked}
    )
    if faults:
        raise refuse_manifest(*faults)


def manifest_text(manifest: Manifest) -> str:
    """Return the one text a manifest is stored and compared as; `parse_manifest` of it gives an equal one."""
    return msgspec.json.encode(manifest).decode()


def refuse_manifest(*faults: Fault) -> RefusedError:
    """Return the error that lists what is wrong with a manifest."""
    return refuse(Code.VALIDATION, f"The manifest cannot be used: {faults[0].message}.", faults=faults)


def price_of(manifest: Manifest) -> CreatorPrice:
    """Return the price a version is published with."""
    return CreatorPrice(
        per_cast_micros=manifest.price_micros,
        per_output_kib_micros=manifest.price_per_output_kib_micros,
        per_unit_micros=manifest.price_per_unit_micros,
        units_max=0 if manifest.units is None else manifest.units.max,
    )


def limits_max(manifest: Manifest) -> CastLimits:
    """Return the most a caller may ask for: the creator's bound where there is one, else the platform's."""
    return _with(LIMITS_MAX, manifest.limits)


def limits_default(manifest: Manifest) -> CastLimits:
    """Return what a cast gets when nothing is asked for: the creator's bound where there is one."""
    return _with(CastLimits(), manifest.limits)


def input_bytes_max(manifest: Manifest) -> int:
    """Return how long an input may be: what the creator says, else what its schema can be checked on in time."""
    asked = manifest.limits.input_bytes
    return min(INPUT_BYTES_DEFAULT, _checkable_bytes(manifest)) if asked is None else asked


def choose_limits(asked: LimitsAsked, *, default: CastLimits, maximum: CastLimits) -> CastLimits:
    """Return the bounds of one cast; RefusedError (validation) names each that is above the creator's."""
    chosen = _with(default, asked)
    faults = tuple(
        Fault(
            location=f"limits.{name}",
            message=f"{getattr(chosen, name)} is more than this spell allows, {getattr(maximum, name)}",
            fix=f"Ask for at most {getattr(maximum, name)}.",
        )
        for name in CastLimits.__struct_fields__
        if getattr(chosen, name) > getattr(maximum, name)
    )
    if faults:
        raise refuse(Code.VALIDATION, f"A limit is too high: {faults[0].message}.", faults=faults)
    return chosen


def _checkable_bytes(manifest: Manifest) -> int:
    """Return how long an input may be for its check to be quick, whatever is in it."""
    schema = bytes(manifest.input_schema)
    return WORK_BYTES_MAX // work_of(schema) if schema else INPUT_BYTES_MAX


def pool_of(limits: CastLimits) -> Pool:
    """Return the group of workers that takes casts with these bounds."""
    small = limits.memory_bytes <= DEFAULT_POOL_MEMORY_BYTES_MAX and limits.wall_ms <= DEFAULT_POOL_WALL_MS_MAX
    return Pool.DEFAULT if small else Pool.LARGE


def _with(limits: CastLimits, asked: LimitsAsked) -> CastLimits:
    def pick(value: int | None, otherwise: int) -> int:
        return otherwise if value is None else value

    return CastLimits(
        fuel=pick(asked.fuel, limits.fuel),
        wall_ms=pick(asked.wall_ms, limits.wall_ms),
        memory_bytes=pick(asked.memory_bytes, limits.memory_bytes),
        output_bytes=pick(asked.output_bytes, limits.output_bytes),
        log_bytes=pick(asked.log_bytes, limits.log_bytes),
    )


def _fault_of(error: Exception) -> Fault:
    match = _PLACE.match(str(error))
    assert match is not None, "every text matches"
    path = (match["path"] or "$").removeprefix("$").lstrip(".")
    return Fault(
        location=f"manifest.{path}" if path else "manifest",
        message=match["message"].strip() or "it is not JSON",
        fix="See the manifest's fields in the documentation of the publish route.",
    )
