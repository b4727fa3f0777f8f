"""Binds `WasiCast` to the engine: one linker per process, one list of the imports a module may have.

Host functions are defined once and find the running cast in `Host.cast`. That is sound because a child runs one cast
at a time in one thread. An exception inside a host function never reaches the engine or wasmtime-py (which keeps the
last one in a variable shared by all threads): it is caught here and becomes a trap, and `Host` keeps the reason.
"""

import operator
from collections.abc import Callable, Iterable
from typing import Any, Final

import wasmtime

from domain.model.limits import HOST_CALLS_MAX
from domain.model.messages import Outcome
from workers.executor import capi
from workers.executor.memory import GuestFault, GuestMemory
from workers.executor.store import Store
from workers.executor.wasi import FAULT, GuestStop, WasiCast

MODULE: Final = "wasi_snapshot_preview1"
# What is ours alone: a spell that wants to be paid by what it did says how much that was.
OWN_MODULE: Final = "spell"

# Any trap ends the guest; whoever reads it asks `WasiCast.stop` and `Host.fault` first. One made of a code costs less
# than one made of a text, which comes back as an error with a formatted backtrace.
_TRAP_OF_HOST: Final = 9

# Parameters as letters, i = 32 and I = 64 bits; each returns an i32 but proc_exit, which returns nothing.
FUNCTIONS: Final[dict[str, tuple[str, Callable[..., int]]]] = {
    "args_get": ("ii", WasiCast.args_get),
    "args_sizes_get": ("ii", WasiCast.args_sizes_get),
    "clock_res_get": ("ii", WasiCast.clock_res_get),
    "clock_time_get": ("iIi", WasiCast.clock_time_get),
    "environ_get": ("ii", WasiCast.environ_get),
    "environ_sizes_get": ("ii", WasiCast.environ_sizes_get),
    "fd_advise": ("iIIi", WasiCast.descriptor_refused),
    "fd_allocate": ("iII", WasiCast.descriptor_refused),
    "fd_close": ("i", WasiCast.fd_close),
    "fd_datasync": ("i", WasiCast.descriptor_refused),
    "fd_fdstat_get": ("ii", WasiCast.fd_fdstat_get),
    "fd_fdstat_set_flags": ("ii", WasiCast.fd_fdstat_set_flags),
    "fd_fdstat_set_rights": ("iII", WasiCast.descriptor_refused),
    "fd_filestat_get": ("ii", WasiCast.fd_filestat_get),
    "fd_filestat_set_size": ("iI", WasiCast.descriptor_refused),
    "fd_filestat_set_times": ("iIIi", WasiCast.descriptor_refused),
    "fd_pread": ("iiiIi", WasiCast.descriptor_refused),
    "fd_prestat_dir_name": ("iii", WasiCast.prestat_refused),
    "fd_prestat_get": ("ii", WasiCast.prestat_refused),
    "fd_pwrite": ("iiiIi", WasiCast.descriptor_refused),
    "fd_read": ("iiii", WasiCast.fd_read),
    "fd_readdir": ("iiiIi", WasiCast.path_refused),
    "fd_renumber": ("ii", WasiCast.descriptor_refused),
    "fd_seek": ("iIii", WasiCast.fd_seek),
    "fd_sync": ("i", WasiCast.descriptor_refused),
    "fd_tell": ("ii", WasiCast.fd_tell),
    "fd_write": ("iiii", WasiCast.fd_write),
    "path_create_directory": ("iii", WasiCast.path_refused),
    "path_filestat_get": ("iiiii", WasiCast.path_refused),
    "path_filestat_set_times": ("iiiiIIi", WasiCast.path_refused),
    "path_link": ("iiiiiii", WasiCast.path_refused),
    "path_open": ("iiiiiIIii", WasiCast.path_refused),
    "path_readlink": ("iiiiii", WasiCast.path_refused),
    "path_remove_directory": ("iii", WasiCast.path_refused),
    "path_rename": ("iiiiii", WasiCast.path_refused),
    "path_symlink": ("iiiii", WasiCast.symlink_refused),
    "path_unlink_file": ("iii", WasiCast.path_refused),
    "poll_oneoff": ("iiii", WasiCast.poll_oneoff),
    "proc_exit": ("i", WasiCast.proc_exit),
    "proc_raise": ("i", WasiCast.proc_raise),
    "random_get": ("ii", WasiCast.random_get),
    "report_units": ("I", WasiCast.report_units),
    "sched_yield": ("", WasiCast.sched_yield),
    "sock_accept": ("iii", WasiCast.socket_refused),
    "sock_recv": ("iiiiii", WasiCast.socket_refused),
    "sock_send": ("iiiii", WasiCast.socket_refused),
    "sock_shutdown": ("ii", WasiCast.socket_refused),
}
NO_RESULT: Final = frozenset({"proc_exit", "report_units"})
_OWN: Final = frozenset({"report_units"})


def module_of(name: str) -> str:
    """Return the module that an allowed import belongs to."""
    return OWN_MODULE if name in _OWN else MODULE


def signature(name: str) -> tuple[str, str]:
    """Return the parameters and results of an allowed import as text, like `(i32, i32)` and `(i32)`."""
    letters, _ = FUNCTIONS[name]
    parameters = ", ".join("i32" if letter == "i" else "i64" for letter in letters)
    return f"({parameters})", "()" if name in NO_RESULT else "(i32)"


def _reader(letters: str) -> Callable[[Any], Iterable[int]]:  # Any: a ctypes array of 32-bit words
    """Return what reads parameters of these kinds from their slots, as unsigned integers."""
    words = capi.WORDS_PER_SLOT
    if not letters:
        return lambda _: ()
    if "I" not in letters:
        return operator.itemgetter(slice(0, words * len(letters), words))
    wide = [(words * slot, letter == "I") for slot, letter in enumerate(letters)]
    return lambda values: [values[at] | values[at + 1] << 32 if is_wide else values[at] for at, is_wide in wide]


class Host:
    """The host side of an engine: its linker, and the cast that is running."""

    def __init__(self, engine: wasmtime.Engine, store: Store) -> None:
        """Define every function once."""
        self.cast: WasiCast | None = None
        self.memory: Final = GuestMemory()
        self.fault: BaseException | None = None
        """A defect of ours inside a host function; the cast ends as `platform_error`."""
        self._calls_left = 0
        self._engine: Final = engine
        self._store: Final = store
        self._linker: Final = wasmtime.Linker(engine)
        # The engine calls these for as long as it lives, so somebody has to hold them.
        self._callbacks: Final = [self._define(name) for name in FUNCTIONS]

    def link(self, module: wasmtime.Module) -> wasmtime.InstancePre:
        """Resolve the imports of a module once, for every cast to come; WasmtimeError when one is not ours."""
        return self._linker.instantiate_pre(module)

    def begin(self, cast: WasiCast) -> None:
        """Make this the running cast."""
        self.cast = cast
        self.fault = None
        self._calls_left = HOST_CALLS_MAX

    def end(self) -> None:
        """Forget the running cast and its memory, before its store goes."""
        self.cast = None
        self.memory.detach()

    def _define(self, name: str) -> Any:  # Any: a ctypes callback has no type of its own
        letters, method = FUNCTIONS[name]
        callback = capi.HOST_FUNCTION(self._entrance(method, _reader(letters)))
        parameters = [wasmtime.ValType.i32() if letter == "i" else wasmtime.ValType.i64() for letter in letters]
        results = [] if name in NO_RESULT else [wasmtime.ValType.i32()]
        kind = wasmtime.FuncType(parameters, results)
        module, function = module_of(name).encode("ascii"), name.encode("ascii")
        error = capi.linker_define(
            *(capi.address(self._linker), module, len(module), function, len(function)),
            *(capi.address(kind), callback, None, capi.NO_FINALIZER),
        )
        assert not error, "each name is defined once"
        return callback

    def _entrance(
        self,
        method: Callable[..., int],
        read: Callable[[Any], Iterable[int]],  # Any: a ctypes array of 32-bit words
    ) -> Callable[[int | None, int, Any, int], int]:
        """Return what runs one host call; it returns 0, or a trap that ends the guest."""
        memory, store = self.memory, self._store

        def enter(_environment: int | None, caller: int, values: Any, _count: int) -> int:
            try:
                cast = self.cast
                assert cast is not None, "the guest runs only between begin() and end()"
                self._calls_left -= 1
                if self._calls_left < 0:
                    message = f"the module made more than {HOST_CALLS_MAX} host calls"
                    raise cast.end(Outcome.TRAP, message)  # noqa: TRY301 # one way out of a host call
                if not memory.attached and store.find_memory_of(caller):
                    memory.attach(store.memory_view)  # without one every pointer of the guest is invalid
                values[0] = method(cast, *read(values))
            except GuestFault:
                values[0] = FAULT
            except GuestStop:
                return capi.trap_new(_TRAP_OF_HOST)
            except BaseException as error:  # noqa: BLE001 # nothing may cross into the engine; Sandbox.run reports it
                self.fault = error
                return capi.trap_new(_TRAP_OF_HOST)
            return 0

        return enter
