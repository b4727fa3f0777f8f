"""Small modules for tests of publishing, and the secrets the test api was started with."""

import json
from collections.abc import Mapping
from typing import Any

import wasmtime

from spell.building.module import with_manifest

WORKER_TOKEN = "f0e1d2c3b4a5968778695a4b3c2d1e0f"
SIGNING_KEY = bytes(range(32))

SPELL = '(memory (export "memory") 1) (func (export "_start"))'


def wat(text: str = SPELL) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(module {text})"))


def module(number: int = 0, manifest: Mapping[str, Any] | None = None) -> bytes:
    """A module whose bytes differ by `number`."""
    built = wat(f'{SPELL} (data (i32.const 0) "{number}")')
    return built if manifest is None else with_manifest(built, json.dumps(manifest).encode())
