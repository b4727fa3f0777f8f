"""Modules for tests of the whole: what a guest can do that matters to the processes around it."""

from pathlib import Path

import wasmtime

BUILT = Path(__file__).parents[2] / "spells" / "built"

_IMPORTS = """
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
"""


def _program(body: str, data: str = "") -> bytes:
    """A command; `data` lies at 64, and an iovec of all of it at 0."""
    length = len(data.replace("\\", "")) // 2
    return bytes(
        wasmtime.wat2wasm(f"""(module {_IMPORTS}
          (memory (export "memory") 1)
          (data (i32.const 0) "\\40\\00\\00\\00\\{length:02x}\\00\\00\\00")
          (data (i32.const 64) "{data}")
          (func (export "_start") (local $i i32) {body}))""")
    )


def _built(name: str) -> bytes:
    return (BUILT / f"{name}.wasm").read_bytes()


def echo() -> bytes:
    return _built("echo")


def empty() -> bytes:
    return _program("")


def spin() -> bytes:
    """Until something ends it."""
    return _program("(loop $l (br $l))")


def work() -> bytes:
    """A few tenths of a second."""
    return _program(
        "(local.set $i (i32.const 60000000))(loop $l (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))"
    )


def fail() -> bytes:
    """Say something on both streams, then exit with 3."""
    write = "(drop (call $fd_write (i32.const {fd}) (i32.const 0) (i32.const 1) (i32.const 32)))"
    return _program(write.format(fd=1) + write.format(fd=2) + "(call $proc_exit (i32.const 3))", "\\4e\\6f\\2e")


def unprintable() -> bytes:
    """NUL, 0xFF, and half of a UTF-8 character."""
    return _program(
        "(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))"
        "(drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 32)))",
        "\\00\\ff\\c3",
    )


GUESTS = {"echo": echo, "empty": empty, "spin": spin, "work": work, "fail": fail, "unprintable": unprintable}
