"""Compiles creators' JSON Schemas with the engine that checks inputs; bounded by `domain.model.schema` before."""

from typing import Any, Final, cast

import jsonschema_rs
import msgspec

from domain.model.errors import Fault
from domain.model.limits import KIB
from domain.model.manifest import refuse_manifest

# Enough for the patterns of addresses, dates, versions and `.{1,50}` (measured); lengths belong in minLength and
# maxLength. `domain.model.schema.PATTERN_WORK` was measured at this size.
PATTERN_BYTES_MAX: Final = 64 * KIB
# The linear engine: no look-around, no back-references, time proportional to the text.
_PATTERNS: Final = jsonschema_rs.RegexOptions(size_limit=PATTERN_BYTES_MAX, dfa_size_limit=PATTERN_BYTES_MAX)
_MESSAGE_CHARACTERS_MAX: Final = 300


def compile_schema(raw: bytes, location: str) -> jsonschema_rs.Validator:
    """Return the validator of a schema that `domain.model.schema` has passed.

    RefusedError (validation) names `location` and what the engine found wrong. Nothing outside is fetched.
    """
    schema = cast("dict[str, Any] | bool", msgspec.json.decode(raw))
    try:
        return jsonschema_rs.validator_for(schema, pattern_options=_PATTERNS, offline=True)
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        message = str(error).partition("\n")[0][:_MESSAGE_CHARACTERS_MAX]
        raise refuse_manifest(
            Fault(
                location=location,
                message=message,
                fix="Write a valid JSON Schema; patterns without look-around and back-references, and not too large.",
            )
        ) from error
