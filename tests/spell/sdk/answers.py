"""Answers of the platform, as small as they can be."""

from typing import Any

CAST: dict[str, Any] = {
    "id": "019a0000-0000-7000-8000-000000000001",
    "spell": "ada/echo",
    "version": "1.0.0",
    "digest": "sha256:00",
    "status": "queued",
    "cost": {"held_micros": 2500},
    "created_at": "2026-11-20T10:00:00Z",
}
DONE: dict[str, Any] = {**CAST, "status": "succeeded", "output": {"n": 1}, "output_encoding": "json"}
LIMIT: dict[str, Any] = {
    "id": "5b0e9c3e-7d52-4c0d-9a3c-0f6f4f1b6a10",
    "scope": "account",
    "scope_id": "5b0e9c3e-7d52-4c0d-9a3c-0f6f4f1b6a11",
    "period": "monthly",
    "limit_micros": 10_000,
    "spent_micros": 9_000,
    "held_micros": 500,
    "needed_micros": 2_500,
    "resets_at": "2026-12-01T00:00:00Z",
    "raise_url": "https://spell.example/dashboard/billing",
}
