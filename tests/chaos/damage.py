"""Good modules, and seeded damage to them. The same seed and number make the same module on every machine."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import wasmtime

from workers.executor.sections import sections

BUILT = Path(__file__).parents[2] / "spells" / "built"
HEADER = b"\0asm\1\0\0\0"
# Megabytes that compile for seconds: worth a look, not worth the run.
LARGE_BYTES = 256 * 1024
ONE_OF_LARGE = 400
HITS_MAX = 12
# Where decoders are wrong: borders of LEB128, ends of signed ranges, opcodes that open and close blocks.
TELLING_BYTES = (0x00, 0x01, 0x02, 0x03, 0x0B, 0x40, 0x60, 0x7F, 0x80, 0xC0, 0xFC, 0xFD, 0xFE, 0xFF)

_WASI = """
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
"""
SNIPPETS = (
    '(module (memory (export "memory") 1) (func (export "_start")))',
    """(module (memory (export "memory") 1 4) (func (export "_start") (drop (memory.grow (i32.const 3)))
      (i32.store8 (i32.const 262143) (i32.const 7)) (memory.fill (i32.const 9) (i32.const 1) (i32.const 60000))))""",
    """(module (memory (export "memory") 1) (table 8 64 funcref) (type $t (func (param i32) (result i32)))
      (elem (i32.const 0) $f $g) (func $f (type $t) (i32.mul (local.get 0) (i32.const 3)))
      (func $g (type $t) (i32.popcnt (local.get 0)))
      (func (export "_start") (drop (call_indirect (type $t) (i32.const 5) (i32.const 1)))))""",
    f"""(module {_WASI} (memory (export "memory") 1) (data (i32.const 0) "\\40\\00\\00\\00\\08\\00\\00\\00")
      (func (export "_start") (local $i i32)
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 32)))
        (drop (call $random (i32.const 64) (i32.const 8)))
        (loop $l (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))
          (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 40))))
        (call $exit (i32.const 3))))""",
    """(module (memory (export "memory") 1) (global $g (mut i64) (i64.const 40)) (func $deep (param i64) (result i64)
      (if (result i64) (i64.eqz (local.get 0)) (then (i64.const 1))
        (else (i64.add (call $deep (i64.sub (local.get 0) (i64.const 1))) (global.get $g)))))
      (func (export "_start") (global.set $g (call $deep (i64.const 30)))
        (block $a (block $b (br_table $a $b $a (i32.wrap_i64 (global.get $g)))))))""",
    """(module (memory (export "memory") 1) (func (export "_start") (local f64 f32 v128)
      (local.set 0 (f64.sqrt (f64.const 2))) (local.set 1 (f32.demote_f64 (local.get 0)))
      (local.set 2 (f64x2.splat (local.get 0)))
      (v128.store (i32.const 16) (f32x4.mul (local.get 2) (f32x4.splat (local.get 1))))
      (drop (i32.trunc_sat_f64_s (local.get 0))) (drop (i32x4.bitmask (v128.load (i32.const 16))))))""",
)


class Seeds:
    """The good modules: the example spells, and texts that use what spells leave out."""

    def __init__(self) -> None:
        built = [path.read_bytes() for path in sorted(BUILT.glob("*.wasm"))]
        assert built, "the example spells are in the repository"
        self.small = [module for module in built if len(module) <= LARGE_BYTES]
        self.small += [bytes(wasmtime.wat2wasm(text)) for text in SNIPPETS]
        self.large = [module for module in built if len(module) > LARGE_BYTES]

    def pick(self, rng: Random) -> bytes:
        return rng.choice(self.large if self.large and rng.randrange(ONE_OF_LARGE) == 0 else self.small)


def leb128(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _split(module: bytes) -> list[tuple[int, bytes]]:
    return [(section.kind, section.body) for section in sections(module)]


def _join(parts: list[tuple[int, bytes]]) -> bytes:
    return HEADER + b"".join(bytes([kind]) + leb128(len(body)) + body for kind, body in parts)


def flip_bits(rng: Random, module: bytes, _other: bytes) -> bytes:
    changed = bytearray(module)
    for _ in range(rng.randint(1, HITS_MAX)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def write_telling_bytes(rng: Random, module: bytes, _other: bytes) -> bytes:
    changed = bytearray(module)
    for _ in range(rng.randint(1, HITS_MAX)):
        changed[rng.randrange(len(changed))] = rng.choice(TELLING_BYTES)
    return bytes(changed)


def change_one_byte(rng: Random, module: bytes, _other: bytes) -> bytes:
    """The damage that is most often still a module."""
    changed = bytearray(module)
    changed[rng.randrange(len(HEADER), len(changed))] = rng.randrange(256)
    return bytes(changed)


def truncate(rng: Random, module: bytes, _other: bytes) -> bytes:
    return module[: rng.randrange(len(module))]


def cut_out(rng: Random, module: bytes, _other: bytes) -> bytes:
    start = rng.randrange(len(module))
    return module[:start] + module[start + rng.randint(1, 64) :]


def put_in(rng: Random, module: bytes, _other: bytes) -> bytes:
    start = rng.randrange(len(module))
    return module[:start] + rng.randbytes(rng.randint(1, 64)) + module[start:]


def swap_sections(rng: Random, module: bytes, _other: bytes) -> bytes:
    parts = _split(module)
    one, another = rng.randrange(len(parts)), rng.randrange(len(parts))
    parts[one], parts[another] = parts[another], parts[one]
    return _join(parts)


def drop_or_double_a_section(rng: Random, module: bytes, _other: bytes) -> bytes:
    parts = _split(module)
    index = rng.randrange(len(parts))
    parts[index : index + 1] = [parts[index]] * rng.choice((0, 2))
    return _join(parts)


def take_a_section_of_another(rng: Random, module: bytes, other: bytes) -> bytes:
    parts, foreign = _split(module), rng.choice(_split(other))
    index = next((number for number, part in enumerate(parts) if part[0] == foreign[0]), rng.randrange(len(parts)))
    parts[index] = foreign
    return _join(parts)


def damage_one_body(rng: Random, module: bytes, _other: bytes) -> bytes:
    """Lengths stay right, so that what is inside a section is read, and not only its border."""
    parts = _split(module)
    index = rng.randrange(len(parts))
    kind, body = parts[index]
    if body:
        parts[index] = (kind, rng.choice((flip_bits, write_telling_bytes, cut_out, put_in))(rng, body, b""))
    return _join(parts)


DAMAGES: tuple[Callable[[Random, bytes, bytes], bytes], ...] = (
    flip_bits,
    write_telling_bytes,
    change_one_byte,
    change_one_byte,
    truncate,
    cut_out,
    put_in,
    swap_sections,
    drop_or_double_a_section,
    take_a_section_of_another,
    damage_one_body,
    damage_one_body,
)


def damaged(seeds: Seeds, seed: str, number: int) -> bytes:
    """Return the damaged module of that number."""
    rng = Random(f"{seed}:{number}")
    return rng.choice(DAMAGES)(rng, seeds.pick(rng), rng.choice(seeds.small))
