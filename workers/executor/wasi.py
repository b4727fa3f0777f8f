"""WASI preview 1, the small set: stdin, stdout, stderr, and nothing of the machine.

stdin is the input, stdout the output, stderr the log. Arguments and environment are constant, there are no files and
no sockets, the clock stands still but for the guest's own sleeps, and random bytes are a function of module and input.
So a cast repeated anywhere takes the same way and burns the same fuel.

Every call that a preview 1 program may import exists; what makes no sense here answers an error number that libc
(wasi-libc), Go, Rust and CPython know how to live with. `workers.executor.linker` binds these methods to the engine.
"""

import hashlib
import struct
from typing import Final

import msgspec

from domain.model.limits import MIB, UNITS_MAX, CastLimits
from domain.model.messages import Outcome
from workers.executor.memory import IOVEC_BYTES, GuestMemory

ARGUMENTS: Final = (b"spell",)
ENVIRONMENT: Final[tuple[bytes, ...]] = ()

# 2026-01-01T00:00:00Z: late enough for certificates and calendars, and the same for every cast.
CLOCK_REALTIME_START_NS: Final = 1_767_225_600 * 10**9
# Not zero: Go takes a monotonic clock of zero for one that does not work.
CLOCK_MONOTONIC_START_NS: Final = 10**9
# 146 years: beyond any program's sleep, and below the end of a signed 64-bit clock.
_SLEPT_NS_MAX: Final = 2**62
_CLOCK_RESOLUTION_NS: Final = 1_000

# One call may ask for gigabytes, and no epoch interrupts a host function: this much takes about 0.2 s.
RANDOM_BYTES_MAX: Final = 64 * MIB
# POSIX' IOV_MAX; it bounds the time of one call.
_LIST_LENGTH_MAX: Final = 1_024

_STDIN: Final = 0
_STDOUT: Final = 1
_STDERR: Final = 2

SUCCESS: Final = 0
BADF: Final = 8
FAULT: Final = 21
INVAL: Final = 28
NOSYS: Final = 52
NOTDIR: Final = 54
NOTSOCK: Final = 57
NOTSUP: Final = 58
SPIPE: Final = 70

_CLOCK_REALTIME: Final = 0
_CLOCK_IDS: Final = 4
_EVENT_CLOCK: Final = 0
_EVENT_FD_READ: Final = 1
_EVENT_FD_WRITE: Final = 2
_CLOCK_ABSOLUTE: Final = 1
# What a pipe is: neither a terminal (libc would flush line by line) nor a file (libc would seek).
_FILETYPE_UNKNOWN: Final = 0
_RIGHT_FD_READ: Final = 1 << 1
_RIGHT_FD_WRITE: Final = 1 << 6
_RIGHT_POLL: Final = 1 << 27

_U32_MAX: Final = 0xFFFF_FFFF
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
# userdata, tag; for a clock: id, timeout, precision, flags; for a descriptor the id is its number
_SUBSCRIPTION: Final = struct.Struct("<QB7xI4xQQH6x")
# userdata, errno, type; for a descriptor: bytes ready, flags
_EVENT: Final = struct.Struct("<QHB5xQH6x")
_FDSTAT: Final = struct.Struct("<BxH4xQQ")
_FILESTAT: Final = struct.Struct("<QQB7xQQQQQ")


class GuestStop(Exception):  # noqa: N818 # a guest that exits has made no error
    """The cast ends here. Raised and caught inside one host call: the engine sees a trap, never an exception."""


class Stop(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Why a host function ended the cast."""

    outcome: Outcome
    message: str = ""
    exit_code: int | None = None
    by_guest: bool = False
    """The guest failed by itself (a trap, an exit code): lack of memory may be why."""


SUCCEEDED: Final = Stop(outcome=Outcome.SUCCEEDED, exit_code=0)


class WasiCast:
    """All that one guest can reach, and what it left behind: `output`, `log`, and `stop` when a call ended it.

    Methods carry the names of preview 1, take the guest's integers as unsigned, and return its error number.
    """

    # What most casts leave as it is.
    output: bytes | bytearray = b""
    log: bytes | bytearray = b""
    stop: Stop | None = None
    units = 0
    _input_read = 0
    _open = frozenset({_STDIN, _STDOUT, _STDERR})
    _slept_ns = 0
    _random_seed: bytes | None = None
    _random_calls = 0
    _random_bytes = 0

    def __init__(self, digest: bytes, guest_input: bytes, limits: CastLimits, memory: GuestMemory) -> None:
        """Begin a cast: nothing read, nothing written, the clock at its constant start."""
        self._digest: Final = digest
        self._input: Final = guest_input
        self._limits: Final = limits
        self._memory: Final = memory

    def end(self, outcome: Outcome, message: str) -> GuestStop:
        """Note which limit of ours ends the cast and return what to raise."""
        self.stop = Stop(outcome=outcome, message=message)
        return GuestStop()

    # Arguments and environment

    def _write_strings(self, strings: tuple[bytes, ...], pointers: int, text: int) -> int:
        for index, string in enumerate(strings):
            self._memory.pack(_U32, pointers + 4 * index, text)
            self._memory.write(text, string + b"\0")
            text += len(string) + 1
        return SUCCESS

    def _write_sizes(self, strings: tuple[bytes, ...], count: int, text_bytes: int) -> int:
        self._memory.pack(_U32, count, len(strings))
        self._memory.pack(_U32, text_bytes, sum(len(string) + 1 for string in strings))
        return SUCCESS

    def args_get(self, pointers: int, text: int) -> int:
        """One argument, the program's name."""
        return self._write_strings(ARGUMENTS, pointers, text)

    def args_sizes_get(self, count: int, text_bytes: int) -> int:
        """Room that `args_get` needs."""
        return self._write_sizes(ARGUMENTS, count, text_bytes)

    def environ_get(self, pointers: int, text: int) -> int:
        """No variables."""
        return self._write_strings(ENVIRONMENT, pointers, text)

    def environ_sizes_get(self, count: int, text_bytes: int) -> int:
        """Room that `environ_get` needs."""
        return self._write_sizes(ENVIRONMENT, count, text_bytes)

    # The virtual clock

    def _now_ns(self, clock: int) -> int:
        start_ns = CLOCK_REALTIME_START_NS if clock == _CLOCK_REALTIME else CLOCK_MONOTONIC_START_NS
        return start_ns + self._slept_ns

    def clock_res_get(self, clock: int, result: int) -> int:
        """Answer a microsecond, for each of the four clocks."""
        if clock >= _CLOCK_IDS:
            return INVAL
        self._memory.pack(_U64, result, _CLOCK_RESOLUTION_NS)
        return SUCCESS

    def clock_time_get(self, clock: int, precision_ns: int, result: int) -> int:
        """Return the constant start plus everything slept so far."""
        del precision_ns  # exact anyway
        if clock >= _CLOCK_IDS:
            return INVAL
        self._memory.pack(_U64, result, self._now_ns(clock))
        return SUCCESS

    def poll_oneoff(self, subscriptions: int, events: int, length: int, event_count: int) -> int:
        """Return at once: descriptors are always ready; with clocks alone, time jumps to the earliest."""
        if not 0 < length <= _LIST_LENGTH_MAX:
            return INVAL
        ready: list[tuple[int, int, int, int]] = []
        clocks: list[tuple[int, int]] = []
        for index in range(length):
            userdata, kind, ident, timeout_ns, _, flags = self._memory.unpack(
                _SUBSCRIPTION, subscriptions + index * _SUBSCRIPTION.size
            )
            if kind == _EVENT_CLOCK:
                if ident >= _CLOCK_IDS:
                    ready.append((userdata, INVAL, kind, 0))
                    continue
                wait_ns = timeout_ns - self._now_ns(ident) if flags & _CLOCK_ABSOLUTE else timeout_ns
                clocks.append((max(wait_ns, 0), userdata))
            elif kind in (_EVENT_FD_READ, _EVENT_FD_WRITE):
                left = len(self._input) - self._input_read if ident == _STDIN else 0
                ready.append((userdata, SUCCESS if ident in self._open else BADF, kind, left))
            else:
                return INVAL
        if not ready:
            earliest_ns = min(wait_ns for wait_ns, _ in clocks)
            self._slept_ns = min(self._slept_ns + earliest_ns, _SLEPT_NS_MAX)
            ready = [(userdata, SUCCESS, _EVENT_CLOCK, 0) for wait_ns, userdata in clocks if wait_ns <= earliest_ns]
        for index, (userdata, error, kind, byte_count) in enumerate(ready):
            self._memory.pack(_EVENT, events + index * _EVENT.size, userdata, error, kind, byte_count, 0)
        self._memory.pack(_U32, event_count, len(ready))
        return SUCCESS

    # stdin, stdout, stderr

    def fd_read(self, descriptor: int, vectors: int, length: int, result: int) -> int:
        """Copy the next bytes of the input; 0 bytes at its end."""
        if descriptor != _STDIN or descriptor not in self._open:
            return BADF
        if length > _LIST_LENGTH_MAX:
            return INVAL
        memory, begin = self._memory, self._input_read
        end = begin
        for vector in range(vectors, vectors + length * IOVEC_BYTES, IOVEC_BYTES):
            pointer, room = memory.iovec(vector)
            piece = self._input[end : end + room]
            memory.write(pointer, piece)
            self._input_read = end = end + len(piece)
            if len(piece) < room:
                break
        memory.put_u32(result, end - begin)
        return SUCCESS

    def fd_write(self, descriptor: int, vectors: int, length: int, result: int) -> int:
        """Append to the output, whose limit ends the cast, or to the log, whose limit only truncates it."""
        if descriptor == _STDIN or descriptor not in self._open:
            return BADF
        if length > _LIST_LENGTH_MAX:
            return INVAL
        memory, written = self._memory, 0
        write = self._write_output if descriptor == _STDOUT else self._write_log
        for vector in range(vectors, vectors + length * IOVEC_BYTES, IOVEC_BYTES):
            pointer, count = memory.iovec(vector)
            write(memory.range(pointer, count))
            written += count
        memory.put_u32(result, written & _U32_MAX)
        return SUCCESS

    def _write_output(self, data: memoryview) -> None:
        room = self._limits.output_bytes - len(self.output)
        self.output = _extended(self.output, data, room)
        if len(data) > room:
            message = f"the output is larger than the cast's limit of {self._limits.output_bytes} bytes"
            raise self.end(Outcome.OUTPUT_TOO_LARGE, message)

    def _write_log(self, data: memoryview) -> None:
        self.log = _extended(self.log, data, self._limits.log_bytes - len(self.log))

    def fd_close(self, descriptor: int) -> int:
        """Close one of the three; later calls on it answer EBADF."""
        if descriptor not in self._open:
            return BADF
        self._open -= {descriptor}
        return SUCCESS

    def fd_fdstat_get(self, descriptor: int, result: int) -> int:
        """Three pipes."""
        if descriptor not in self._open:
            return BADF
        rights = (_RIGHT_FD_READ if descriptor == _STDIN else _RIGHT_FD_WRITE) | _RIGHT_POLL
        self._memory.pack(_FDSTAT, result, _FILETYPE_UNKNOWN, 0, rights, 0)
        return SUCCESS

    def fd_filestat_get(self, descriptor: int, result: int) -> int:
        """Three pipes of no size, made when the clock began."""
        if descriptor not in self._open:
            return BADF
        start = CLOCK_REALTIME_START_NS
        self._memory.pack(_FILESTAT, result, 0, descriptor, _FILETYPE_UNKNOWN, 1, 0, start, start, start)
        return SUCCESS

    def fd_fdstat_set_flags(self, descriptor: int, flags: int) -> int:
        """Accept any: nothing here ever blocks."""
        del flags
        return SUCCESS if descriptor in self._open else BADF

    def fd_seek(self, descriptor: int, offset: int, whence: int, result: int) -> int:
        """Refuse: a pipe has no position."""
        del offset, whence, result
        return SPIPE if descriptor in self._open else BADF

    def fd_tell(self, descriptor: int, result: int) -> int:
        """Refuse: a pipe has no position."""
        del result
        return SPIPE if descriptor in self._open else BADF

    def descriptor_refused(self, descriptor: int, *_: int) -> int:
        """Refuse what pipes cannot do: sync, truncate, allocate, positioned reads, directories, renumbering."""
        return NOTSUP if descriptor in self._open else BADF

    def path_refused(self, descriptor: int, *_: int) -> int:
        """Refuse whatever names a file: there is no directory to begin from."""
        return NOTDIR if descriptor in self._open else BADF

    def symlink_refused(self, *_: int) -> int:
        """Refuse `path_symlink`, whose directory is not its first parameter."""
        return BADF

    def prestat_refused(self, *_: int) -> int:
        """End libc's search for opened directories at its first question."""
        return BADF

    def socket_refused(self, descriptor: int, *_: int) -> int:
        """Refuse: there is no network."""
        return NOTSOCK if descriptor in self._open else BADF

    # The rest

    def sched_yield(self) -> int:
        """Do nothing: there is one thread."""
        return SUCCESS

    def report_units(self, units: int) -> int:
        """Count what the guest says it did in its own unit; beyond UNITS_MAX nobody counts."""
        self.units = min(self.units + units, UNITS_MAX)
        return SUCCESS

    def random_get(self, pointer: int, length: int) -> int:
        """Fill with SHAKE-256 of a seed and the number of the call; the seed is SHA-256(module digest, input).

        Not secret: who knows module and input knows every byte.
        """
        self._random_bytes += length
        if self._random_bytes > RANDOM_BYTES_MAX:
            raise self.end(Outcome.TRAP, f"the module asked for more than {RANDOM_BYTES_MAX} random bytes")
        self._memory.range(pointer, length)
        if self._random_seed is None:
            self._random_seed = hashlib.sha256(self._digest + self._input).digest()
        self._random_calls += 1
        block = self._random_seed + self._random_calls.to_bytes(8, "big")
        self._memory.write(pointer, hashlib.shake_256(block).digest(length))
        return SUCCESS

    def proc_exit(self, code: int) -> int:
        """End the cast with the guest's own exit code."""
        if code == 0:
            self.stop = SUCCEEDED
            raise GuestStop
        message = f"the module exited with code {code}"
        self.stop = Stop(outcome=Outcome.EXIT_NONZERO, message=message, exit_code=code, by_guest=True)
        raise GuestStop

    def proc_raise(self, signal: int) -> int:
        """Refuse: there are no signals."""
        del signal
        return NOSYS


def _extended(written: bytes | bytearray, data: memoryview, room: int) -> bytes | bytearray:
    """Return what was written with so much more as there is room for; most casts write once."""
    if not written:
        return data[:room].tobytes()
    grown = written if isinstance(written, bytearray) else bytearray(written)
    grown += data[:room]
    return grown
