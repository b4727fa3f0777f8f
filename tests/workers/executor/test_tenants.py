"""Casts of different tenants follow one another in one child, on the same pages: nothing of one reaches the next."""

from collections.abc import Callable

from domain.model.limits import MIB
from domain.model.messages import Outcome
from workers.executor.protocol import ExecuteResult

PAGES = 48  # 3 MiB: more than the pool keeps resident, so both ways of clearing are seen

# Fills its memory, from the second KiB on, with 0xA5.
WRITER = f"""
  (drop (memory.grow (i32.const {PAGES - 1})))
  (memory.fill (i32.const 1024) (i32.const 0xA5) (i32.const {PAGES * 65536 - 1024}))
  (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
"""
# Looks at every word of as much memory and traps at the first that is not zero.
READER = f"""
  (drop (memory.grow (i32.const {PAGES - 1})))
  (local.set $i (i32.const 1024))
  (loop $next
    (if (i64.ne (i64.load (local.get $i)) (i64.const 0)) (then unreachable))
    (local.set $i (i32.add (local.get $i) (i32.const 8)))
    (br_if $next (i32.lt_u (local.get $i) (i32.const {PAGES * 65536}))))
  (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
"""


def test_memory_is_zero_whoever_used_it_before(
    cast: Callable[..., ExecuteResult], make_program: Callable[..., bytes]
) -> None:
    writer, reader = make_program(WRITER), make_program(READER)
    for _ in range(50):
        assert cast(writer, memory_bytes=8 * MIB).outcome is Outcome.SUCCEEDED
        seen = cast(reader, memory_bytes=8 * MIB)
        assert seen.outcome is Outcome.SUCCEEDED, seen.message


def test_the_reader_would_see_what_was_left(
    cast: Callable[..., ExecuteResult], make_program: Callable[..., bytes]
) -> None:
    """The test above can fail: a reader that finds a word ends with a trap."""
    dirty = make_program("(i64.store (i32.const 2048) (i64.const 7))" + READER)
    assert cast(dirty, memory_bytes=8 * MIB).outcome is Outcome.TRAP
