"""What is cast in a chaos run: spells that do every kind of thing, each with what must come of it."""

import base64
import hashlib
import json
from random import Random
from typing import Any

import httpx
import wasmtime

from tests.chaos.history import Wanted
from tests.stack import PATIENCE_SECONDS, Stack
from tests.system.guests import BUILT

FUEL_DEFAULT = 1_000_000_000
# What their manifests give these spells.
FUEL_HELLO = 10_000_000
FUEL_ECHO = 100_000_000
BUILT_SPELLS = ("hello", "text-statistics")
# Longer than what rides inside a stream entry (32 KiB), so that input and output lie beside it.
BESIDE_BYTES = (33_000, 120_000)
# An account has 256 places on the wire.
CROWD_CASTS = (270, 400)
WORDS = ("wire", "ledger", "hold", "Äther", "settle", "naïve", "cast", "猫")


def trap() -> bytes:
    return bytes(wasmtime.wat2wasm('(module (memory (export "memory") 1) (func (export "_start") unreachable))'))


def publish(stack: Stack) -> None:
    """Publish what `Stack` has not published itself."""
    modules = {"trap": trap(), **{name: (BUILT / f"{name}.wasm").read_bytes() for name in BUILT_SPELLS}}
    headers = {"Authorization": f"Bearer {stack.owner_key}", "Content-Type": "application/wasm"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False) as client:
        for name, module in modules.items():
            answer = client.put(f"/v1/spells/dev/{name}/versions/1.0.0", content=module)
            assert answer.status_code == 201, answer.text


def any_cast(rng: Random) -> tuple[bytes, Wanted]:
    """Return the JSON of a cast and what must come of it."""
    (make,) = rng.choices(
        (_empty, _echo, _statistics, _hello, _fail, _trap, _beside, _out_of_fuel, _work, _large, _endless),
        weights=(30, 25, 10, 8, 6, 5, 6, 4, 4, 4, 1),
    )
    return make(rng)


def _cast(
    spell: str, *outcomes: str, fuel: int = FUEL_DEFAULT, output: bytes | None = None, **body: Any
) -> tuple[bytes, Wanted]:
    text = json.dumps({"spell": f"dev/{spell}", **body}, ensure_ascii=False).encode()
    output_sha256 = None if output is None else hashlib.sha256(output).hexdigest()
    return text, Wanted(spell=spell, fuel=fuel, outcomes=outcomes, output_sha256=output_sha256)


def _empty(_rng: Random) -> tuple[bytes, Wanted]:
    return _cast("empty", "succeeded", output=b"")


def _echo(rng: Random) -> tuple[bytes, Wanted]:
    said = {"n": rng.randrange(10**9), "word": rng.choice(WORDS)}
    return _cast("echo", "succeeded", fuel=FUEL_ECHO, output=json.dumps(said, ensure_ascii=False).encode(), input=said)


def _statistics(rng: Random) -> tuple[bytes, Wanted]:
    return _cast("text-statistics", "succeeded", input=" ".join(rng.choices(WORDS, k=rng.randrange(200))))


def _hello(_rng: Random) -> tuple[bytes, Wanted]:
    return _cast("hello", "succeeded", "exit_nonzero", fuel=FUEL_HELLO, input={"name": "Ada"})


def _fail(_rng: Random) -> tuple[bytes, Wanted]:
    return _cast("fail", "exit_nonzero")


def _trap(_rng: Random) -> tuple[bytes, Wanted]:
    return _cast("trap", "trap")


def _beside(rng: Random) -> tuple[bytes, Wanted]:
    stuff = rng.randbytes(rng.randrange(*BESIDE_BYTES))
    return _cast("echo", "succeeded", fuel=FUEL_ECHO, output=stuff, input_base64=base64.b64encode(stuff).decode())


def _out_of_fuel(_rng: Random) -> tuple[bytes, Wanted]:
    fuel = 20_000_000
    return _cast("spin", "fuel_exhausted", fuel=fuel, limits={"fuel": fuel})


def _work(_rng: Random) -> tuple[bytes, Wanted]:
    return _cast("work", "succeeded")


def _large(rng: Random) -> tuple[bytes, Wanted]:
    said = rng.choice(WORDS)
    output = json.dumps(said, ensure_ascii=False).encode()
    return _cast("echo", "succeeded", fuel=FUEL_ECHO, output=output, input=said, pool="large")


def crowd(rng: Random) -> list[tuple[bytes, Wanted]]:
    """Return more casts than an account may have on the wire: the rest waits in Postgres for a place."""
    return [_empty(rng)] * rng.randint(*CROWD_CASTS)


def _endless(_rng: Random) -> tuple[bytes, Wanted]:
    fuel = 20_000_000_000
    return _cast("spin", "wall_time_exceeded", "fuel_exhausted", fuel=fuel, limits={"fuel": fuel, "wall_ms": 300})
