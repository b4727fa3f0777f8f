"""The body of a request for a cast: decoded once from the raw bytes, checked, and turned into what admission judges.

`input` stays the bytes the caller wrote: they are the guest's stdin.
"""

import base64
import binascii
import re
from itertools import islice
from typing import Annotated, Any, Final, Literal, NoReturn

import msgspec

from api.errors import invalid
from api.spells.catalog import ResolvedSpell
from domain.model.admission import CastSpec
from domain.model.errors import Code, Fault, RefusedError, refuse
from domain.model.limits import DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX, KIB, MIB
from domain.model.manifest import LimitsAsked, choose_limits, pool_of
from domain.model.messages import Pool
from domain.model.quote import QUOTE_CHARACTERS_MAX, Quote
from domain.model.spell_ref import REFERENCE_CHARACTERS_MAX
from domain.model.webhook_rules import webhook_url_fault
from domain.model.webhook_url import URL_CHARACTERS_MAX, Network

BODY_BYTES_MAX: Final = 8 * MIB
# Metadata is for the caller's own ids and labels; it is stored with every cast and never read by us.
METADATA_BYTES_MAX: Final = 4 * KIB
# More places than this in one answer help nobody.
FAULTS_MAX: Final = 10
BATCH_CASTS_MAX: Final = 1_000

_PLACE: Final = re.compile(r"^(?P<message>.*?)(?: - at `\$(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN_FIELD: Final = re.compile(r"Object contains unknown field `(?P<field>.*)`", re.DOTALL)
_MISSING_FIELD: Final = re.compile(r"Object missing required field `(?P<field>.*)`", re.DOTALL)


class CastBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON of `POST /v1/cast` and `/v1/casts`. `api.casts.openapi` declares the same by hand."""

    spell: Annotated[str, msgspec.Meta(max_length=REFERENCE_CHARACTERS_MAX)]
    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """Any JSON; the guest's stdin gets exactly these bytes."""
    input_base64: str | None = None
    """Instead of `input`: the bytes of stdin in base64."""
    limits: LimitsAsked | None = None
    deadline_ms: Annotated[int, msgspec.Meta(ge=1, le=DEADLINE_MS_MAX)] | None = None
    """Milliseconds from acceptance; a cast that has not ended by then expires, free of charge."""
    pool: Literal["large"] | None = None
    max_price_micros: Annotated[int, msgspec.Meta(ge=0)] | None = None
    quote: Annotated[str, msgspec.Meta(min_length=1, max_length=QUOTE_CHARACTERS_MAX)] | None = None
    """The text of a quote (`POST /v1/spells/{owner}/{name}/quote`): its version and prices count while it is good."""
    webhook_url: Annotated[str, msgspec.Meta(min_length=1, max_length=URL_CHARACTERS_MAX)] | None = None
    """Is told when the cast has ended, signed with the account's secret (`GET /v1/webhooks/secret`)."""
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """A JSON object of at most 4 KiB, returned with the cast."""


class BatchBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON of `POST /v1/casts/batch`."""

    casts: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=BATCH_CASTS_MAX)]


_decode_cast: Final = msgspec.json.Decoder(CastBody).decode
_decode_batch: Final = msgspec.json.Decoder(BatchBody).decode
_decode_any: Final = msgspec.json.Decoder().decode


def parse_cast(body: bytes) -> CastBody:
    """Return the body of one cast. RefusedError: malformed (400) when it is no JSON, validation (422) with places."""
    try:
        if not body.isascii():
            body.decode("utf-8")  # strings inside `input` are not looked at otherwise
        return _decode_cast(body)
    except msgspec.ValidationError as error:
        raise RefusedError(invalid([fault_of(str(error))])) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refuse_malformed(error) from error


def parse_batch(body: bytes) -> list[bytes]:
    """Return the JSON of each cast of a batch; each is parsed on its own, because each has its own verdict."""
    try:
        if not body.isascii():
            body.decode("utf-8")
        return [bytes(one) for one in _decode_batch(body).casts]
    except msgspec.ValidationError as error:
        raise RefusedError(invalid([fault_of(str(error))])) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refuse_malformed(error) from error


def refuse_malformed(error: Exception) -> RefusedError:
    """Return the 400 of bytes that are no JSON."""
    if isinstance(error, RecursionError):
        return refuse(Code.MALFORMED, "The body is nested too deeply. Flatten it, or send it as input_base64.")
    if isinstance(error, UnicodeDecodeError):
        return refuse(Code.MALFORMED, f"The body is not UTF-8: byte {error.start} does not fit. Send JSON in UTF-8.")
    return refuse(Code.MALFORMED, f"The body is not valid JSON: {error}. Send JSON in UTF-8.")


def fault_of(text: str) -> Fault:
    """Return the place, message and fix of what msgspec says about a body."""
    match = _PLACE.match(text)
    assert match is not None, "every text matches"
    path = (match["path"] or "").lstrip(".")
    message = match["message"]
    if (unknown := _UNKNOWN_FIELD.match(message)) is not None:
        known = ", ".join(CastBody.__struct_fields__ if not path else LimitsAsked.__struct_fields__)
        field = unknown["field"]
        return Fault(
            location=f"{path}.{field}" if path else field,
            message="there is no such field",
            fix=f"Take it out, or use one of: {known}.",
        )
    if (missing := _MISSING_FIELD.match(message)) is not None:
        field = missing["field"]
        return Fault(location=f"{path}.{field}" if path else field, message="it is missing", fix="Add it.")
    return Fault(location=path or "body", message=message, fix="Send a value of the type and size that is named.")


def spec_of(
    body: CastBody,
    spell: ResolvedSpell,
    traceparent: str | None,
    *,
    private_allowed: tuple[Network, ...],
    quote: Quote | None = None,
) -> CastSpec:
    """Return what admission judges. RefusedError names every place that does not fit this version of the spell.

    A quote gives the limits where the body names none, and a bound on the price. `private_allowed` are networks a
    webhook may reach although they are not public.
    """
    if body.webhook_url is not None:
        _check_webhook(body.webhook_url, private_allowed)
    limits, most = spell.limits_default, body.max_price_micros
    if quote is not None:
        limits, most = quote.limits, quote.max_price_micros if most is None else min(most, quote.max_price_micros)
    default = limits is spell.limits_default and body.limits is None
    if body.limits is not None:
        limits = choose_limits(body.limits, default=limits, maximum=spell.limits_max)
    return CastSpec(
        spell_id=spell.spell_id,
        version_id=spell.version_id,
        creator_id=spell.creator_id,
        price=spell.price,
        digest=spell.digest,
        pool=Pool.LARGE if body.pool is not None else spell.pool if default else pool_of(limits),
        limits=limits,
        input=_input_of(body, spell),
        deadline_ms=DEADLINE_MS_DEFAULT if body.deadline_ms is None else body.deadline_ms,
        max_price_micros=most,
        quote=None if quote is None else quote.terms,
        metadata="{}" if isinstance(body.metadata, msgspec.UnsetType) else _metadata_of(bytes(body.metadata)),
        traceparent=traceparent,
        webhook_url=body.webhook_url,
    )


def _check_webhook(url: str, private_allowed: tuple[Network, ...]) -> None:
    fault = webhook_url_fault("webhook_url", url, private_allowed)
    if fault is not None:
        raise RefusedError(invalid([fault]))


def _input_of(body: CastBody, spell: ResolvedSpell) -> bytes:
    if isinstance(body.input, msgspec.UnsetType):
        raw = b"" if body.input_base64 is None else _base64_of(body.input_base64)
    elif body.input_base64 is not None:
        _refuse("input_base64", "it stands beside `input`", "Send one of the two.")
    else:
        raw = bytes(body.input)
    if len(raw) > spell.input_bytes_max:
        message = f"it has {len(raw)} bytes, more than this spell takes, {spell.input_bytes_max}"
        _refuse("input", message, f"Send at most {spell.input_bytes_max} bytes.")
    # A schema describes JSON: bytes sent as they are (a picture) are the guest's to judge.
    if spell.input_validator is not None and body.input_base64 is None:
        _check_schema(raw, spell)
    return raw


def _base64_of(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        _refuse("input_base64", f"it is not base64: {error}", "Encode with the standard alphabet.")


def _check_schema(raw: bytes, spell: ResolvedSpell) -> None:
    validator = spell.input_validator
    assert validator is not None
    try:
        value: Any = _decode_any(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse("input", f"the spell's schema cannot be applied to it: {error}", "Send plain JSON.")
    try:
        if validator.is_valid(value):
            return
        errors = list(islice(validator.iter_errors(value), FAULTS_MAX))
    except ValueError as error:  # a number or a depth that the validator cannot hold
        _refuse("input", f"the spell's schema cannot be applied to it: {error}", "Send plain JSON.")
    faults = [
        Fault(
            location=".".join(["input", *(str(part) for part in error.instance_path)]),
            message=error.message[:500],
            fix=f"Send what the input schema of {spell.owner}/{spell.name}@{spell.version} asks for.",
        )
        for error in errors
    ]
    raise RefusedError(invalid(faults))


def _metadata_of(raw: bytes) -> str:
    if len(raw) > METADATA_BYTES_MAX:
        _refuse("metadata", f"it has {len(raw)} bytes", f"Send at most {METADATA_BYTES_MAX}.")
    try:
        value: object = _decode_any(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse("metadata", f"it cannot be read: {error}", "Send plain JSON.")
    if not isinstance(value, dict):
        _refuse("metadata", "it is not a JSON object", 'Send an object, like {"order": "17"}.')
    # Raw NULs cannot stand in JSON, so an escape is the only way in; one that follows an even number of backslashes.
    if _NUL_ESCAPE.search(raw) is not None:
        _refuse("metadata", "it has a NUL character", "Take \\u0000 out.")
    return raw.decode("utf-8")


_NUL_ESCAPE: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def _refuse(location: str, message: str, fix: str) -> NoReturn:
    raise RefusedError(invalid([Fault(location=location, message=message, fix=fix)]))
