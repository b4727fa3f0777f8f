"""The OpenAPI description of the cast routes, by hand: they read raw bodies, so no framework can derive it.

A test compares the request schemas with the structs that decode the bodies.
"""

from typing import Any, Final

from api.casts.prefer import WAIT_S_MAX
from api.casts.request import BATCH_CASTS_MAX, METADATA_BYTES_MAX
from api.errors import KINDS
from api.listing import LIMIT_DEFAULT, LIMIT_MAX
from domain.model.errors import Code
from domain.model.limits import DEADLINE_MS_MAX, LIMITS_MAX
from domain.model.manifest import MEMORY_BYTES_MIN
from domain.model.quote import QUOTE_CHARACTERS_MAX
from domain.model.spell_ref import REFERENCE_CHARACTERS_MAX
from domain.model.webhook_url import URL_CHARACTERS_MAX

Json = dict[str, Any]  # a JSON object of the OpenAPI document


def _optional(kind: str, **bounds: int) -> Json:
    return {"anyOf": [{"type": kind, **bounds}, {"type": "null"}], "default": None}


_CAST_REQUEST: Final[Json] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["spell"],
    "properties": {
        "spell": {
            "type": "string",
            "maxLength": REFERENCE_CHARACTERS_MAX,
            "description": "owner/name, with @latest, @1, @1.2, @1.2.0 or @sha256:… behind it.",
            "examples": ["ada/wordcount@1"],
        },
        "input": {"description": "Any JSON. The guest's stdin gets exactly these bytes."},
        "input_base64": {**_optional("string"), "description": "Instead of input: the bytes of stdin."},
        "limits": {"anyOf": [{"$ref": "#/components/schemas/CastLimitsRequest"}, {"type": "null"}], "default": None},
        "deadline_ms": {
            **_optional("integer", minimum=1, maximum=DEADLINE_MS_MAX),
            "description": "Milliseconds from acceptance until an unfinished cast expires; 15 minutes by default.",
        },
        "pool": {"enum": [None, "large"], "default": None},
        "max_price_micros": {
            **_optional("integer", minimum=0),
            "description": "409 price_changed when the cast could cost more.",
        },
        "quote": {
            "anyOf": [{"type": "string", "minLength": 1, "maxLength": QUOTE_CHARACTERS_MAX}, {"type": "null"}],
            "default": None,
            "description": (
                "The text `quote` of POST /v1/spells/{owner}/{name}/quote: its version, prices and limits count; "
                "409 quote_expired when its time is over."
            ),
        },
        "webhook_url": {
            "anyOf": [{"type": "string", "minLength": 1, "maxLength": URL_CHARACTERS_MAX}, {"type": "null"}],
            "default": None,
            "description": (
                "An https URL that is told when the cast has ended, signed with the account's secret "
                "(GET /v1/webhooks/secret)."
            ),
        },
        "metadata": {
            "type": "object",
            "default": {},
            "description": f"Yours, returned with the cast; at most {METADATA_BYTES_MAX} bytes.",
        },
    },
}
_LIMITS_REQUEST: Final[Json] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "fuel": _optional("integer", minimum=1, maximum=LIMITS_MAX.fuel),
        "wall_ms": _optional("integer", minimum=1, maximum=LIMITS_MAX.wall_ms),
        "memory_bytes": _optional("integer", minimum=MEMORY_BYTES_MIN, maximum=LIMITS_MAX.memory_bytes),
        "output_bytes": _optional("integer", minimum=1, maximum=LIMITS_MAX.output_bytes),
        "log_bytes": _optional("integer", minimum=0, maximum=LIMITS_MAX.log_bytes),
    },
}
_TIME: Final[Json] = {"type": ["string", "null"], "format": "date-time"}
_CAST: Final[Json] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "spell": {"type": "string"},
        "version": {"type": "string"},
        "digest": {"type": "string"},
        "mode": {"enum": ["live", "test"], "description": "test: a test key made it, and no money moved."},
        "status": {"enum": ["queued", "running", "succeeded", "failed", "canceled", "expired"]},
        "output": {"description": "As output_encoding says; null until the cast succeeded."},
        "output_encoding": {"enum": ["json", "text", "base64", None]},
        "log": {"type": "string"},
        "exit_code": {"type": ["integer", "null"]},
        "error": {
            "type": ["object", "null"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        },
        "usage": {
            "type": ["object", "null"],
            "properties": {
                "fuel": {"type": ["integer", "null"]},
                "cpu_ms": {"type": ["number", "null"]},
                "memory_bytes_peak": {"type": ["integer", "null"]},
                "duration_ms": {"type": ["number", "null"]},
                "queued_ms": {"type": ["number", "null"]},
            },
        },
        "cost": {
            "type": "object",
            "properties": {
                "held_micros": {"type": "integer"},
                "cost_micros": {"type": ["integer", "null"]},
                "cost_cents": {"type": ["integer", "null"]},
                "currency": {"const": "usd"},
                "funding": {"enum": ["free", "credits", "metered", "unbilled", "test"]},
            },
        },
        "created_at": {"type": "string", "format": "date-time"},
        "started_at": _TIME,
        "finished_at": _TIME,
        "data_expires_at": {
            **_TIME,
            "description": "Until then input, output and log are kept; all else of a cast is kept for ever.",
        },
        "data_expired": {
            "type": "boolean",
            "description": "They are gone: output is null and log empty, whatever the cast wrote.",
        },
        "attempts": {"type": "integer"},
        "urls": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("self", "cancel", "events", "receipt")},
        },
        "metadata": {"type": "object"},
        "warnings": {
            "type": "array",
            "description": "Only in the answer to a cast of a version that is yanked or deprecated.",
            "items": {
                "type": "object",
                "properties": {
                    "code": {"enum": ["yanked", "spell_deprecated", "version_deprecated"]},
                    "message": {"type": "string"},
                },
            },
        },
    },
}
_PROBLEM: Final[Json] = {
    "type": "object",
    "description": "RFC 9457. 402 adds period, limit_cents, current_cents and limit; 503 may add cast_ids.",
    "required": ["type", "title", "status", "detail", "instance", "error", "request_id", "retryable"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "error": {"enum": [code.value for code in Code]},
        "request_id": {"type": "string"},
        "retryable": {"type": "boolean"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ("location", "message", "fix")},
            },
        },
    },
}
CAST_COMPONENTS: Final[Json] = {
    "CastRequest": _CAST_REQUEST,
    "CastLimitsRequest": _LIMITS_REQUEST,
    "CastBatchRequest": {
        "type": "object",
        "additionalProperties": False,
        "required": ["casts"],
        "properties": {
            "casts": {
                "type": "array",
                "minItems": 1,
                "maxItems": BATCH_CASTS_MAX,
                "items": {"$ref": "#/components/schemas/CastRequest"},
            }
        },
    },
    "Cast": _CAST,
    "Problem": _PROBLEM,
}


def _json(schema: str) -> Json:
    return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


def _problems(*statuses: int) -> Json:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        str(status): {
            "description": ", ".join(code for code, kind in KINDS.items() if kind.status == status),
            "content": content,
        }
        for status in statuses
    }


def _header(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


_ACCEPTED_HEADERS: Final[Json] = {
    name: {"description": text, "schema": {"type": "string"}}
    for name, text in {
        "Location": "The cast's address.",
        "Preference-Applied": "The part of Prefer that was followed.",
        "Idempotent-Replayed": "true when the Idempotency-Key was used before: this is that cast, as it is now.",
        "RateLimit-Policy": "IETF draft 10: the quota and its window.",
        "RateLimit": "IETF draft 10: what is left, and when all of it is back.",
        "Budget-Limit": "Micros, of the tightest hard budget; Budget-Spent, Budget-Held and Budget-Reset beside it.",
        "Open-Casts": "How many casts of the key, or of the account where the key has no bound of its own, are open.",
        "Open-Casts-Limit": "How many may be open.",
    }.items()
}


def _create(summary: str, wait: str) -> Json:
    return {
        "summary": summary,
        "tags": ["casts"],
        "security": [{"bearer": []}],
        "parameters": [
            _header("Idempotency-Key", "Replays an accepted request for 24 h.", {"type": "string", "maxLength": 255}),
            _header("Prefer", wait, {"type": "string"}),
        ],
        "requestBody": {"required": True, **_json("CastRequest")},
        "responses": {
            "200": {"description": "The cast ended.", "headers": _ACCEPTED_HEADERS, **_json("Cast")},
            "202": {"description": "The cast is accepted.", "headers": _ACCEPTED_HEADERS, **_json("Cast")},
            **_problems(400, 401, 402, 403, 404, 409, 413, 415, 422, 429, 503),
        },
    }


def _filter(name: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": schema}


_LIST: Final[Json] = {
    "summary": "List casts, newest first",
    "tags": ["casts"],
    "security": [{"bearer": []}],
    "parameters": [
        _filter("limit", {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}),
        _filter("cursor", {"type": "string"}),
        _filter("status", {"$ref": "#/components/schemas/Cast/properties/status"}),
        _filter("spell", {"type": "string", "examples": ["ada/wordcount"]}),
        _filter("key", {"type": "string", "description": "The prefix of an API key."}),
        _filter("created_after", {"type": "string", "format": "date-time"}),
        _filter("created_before", {"type": "string", "format": "date-time"}),
    ],
    "responses": {
        "200": {
            "description": "A page; `Link: rel=next` where there is another.",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["data", "next_cursor", "has_more"],
                        "properties": {
                            "data": {"type": "array", "items": {"$ref": "#/components/schemas/Cast"}},
                            "next_cursor": {"type": ["string", "null"]},
                            "has_more": {"type": "boolean"},
                        },
                    }
                }
            },
        },
        **_problems(401, 403, 422, 429, 503),
    },
}

CAST_PATHS: Final[dict[str, Json]] = {
    "/v1/cast": {
        "post": _create(
            "Cast a spell and wait for its result", f"wait=n (10 by default, <= {WAIT_S_MAX}), respond-async"
        )
    },
    "/v1/casts": {
        "get": _LIST,
        "post": _create("Cast a spell, answered at once", f"wait=n (<= {WAIT_S_MAX}) to wait for the result"),
    },
    "/v1/casts/batch": {
        "post": {
            "summary": "Cast up to 1,000 spells with a verdict each",
            "tags": ["casts"],
            "security": [{"bearer": []}],
            "parameters": [
                _header("Idempotency-Key", "Replays an accepted batch.", {"type": "string", "maxLength": 255})
            ],
            "requestBody": {"required": True, **_json("CastBatchRequest")},
            "responses": {
                "200": {
                    "description": "`results` in order, each {status, cast} or {status, error}.",
                    "content": {"application/json": {"schema": {"type": "object"}}},
                },
                **_problems(400, 401, 413, 415, 422, 429, 503),
            },
        }
    },
}
