"""The part of wasmtime's C API that a cast needs, typed once, with every pointer an integer.

wasmtime-py's own wrappers cost several microseconds per host call (a `Caller`, a `Val` per parameter, a lookup in a
slab) and keep the last exception of any host function in one process-wide variable. Here a host function gets the raw
parameter slots, so a call from the guest costs about a microsecond, and no exception ever crosses the boundary.

Functions that may run guest code release the GIL (`CDLL`), so that the epoch ticker can run beside them; the short
ones keep it (`PyDLL`), which saves a release and a re-acquire each.
"""

import ctypes
from collections.abc import Callable, Mapping
from ctypes import c_bool, c_char_p, c_int64, c_size_t, c_ssize_t, c_uint8, c_uint32, c_uint64, c_void_p
from typing import Any, Final, cast

from wasmtime import _bindings as bindings  # the generated structs, whose layout belongs to the pinned version
from wasmtime import _ffi as ffi

LIBRARY_PATH: Final = str(ffi.filename)

_releasing: Final = ctypes.CDLL(LIBRARY_PATH)
_holding: Final = ctypes.PyDLL(LIBRARY_PATH)

# (environment, caller, parameter and result slots as 32-bit words, number of slots) -> trap or 0
HOST_FUNCTION: Final = ctypes.CFUNCTYPE(c_size_t, c_void_p, c_void_p, ctypes.POINTER(c_uint32), c_size_t)
FINALIZER: Final = ctypes.CFUNCTYPE(None, c_void_p)
NO_FINALIZER: Final = FINALIZER()  # a null function pointer

# A raw value is a 16-byte union, little-endian, so slot n of an array of 32-bit words begins at word 4n.
WORDS_PER_SLOT: Final = 4


def _bind(library: ctypes.CDLL, name: str, result: Any, *parameters: Any) -> Callable[..., Any]:  # Any: ctypes' seam
    function = library[name]
    function.restype = result
    function.argtypes = parameters
    return function


store_new: Final[Callable[[int, None, None], int]] = _bind(
    _holding, "wasmtime_store_new", c_void_p, c_void_p, c_void_p, c_void_p
)
store_context: Final[Callable[[int], int]] = _bind(_holding, "wasmtime_store_context", c_void_p, c_void_p)
store_limiter: Final[Callable[[int, int, int, int, int, int], None]] = _bind(
    _holding, "wasmtime_store_limiter", None, c_void_p, c_int64, c_int64, c_int64, c_int64, c_int64
)
store_delete: Final[Callable[[int], None]] = _bind(_holding, "wasmtime_store_delete", None, c_void_p)
set_fuel: Final[Callable[[int, int], int | None]] = _bind(
    _holding, "wasmtime_context_set_fuel", c_void_p, c_void_p, c_uint64
)
get_fuel: Final[Callable[[int, int], int | None]] = _bind(
    _holding, "wasmtime_context_get_fuel", c_void_p, c_void_p, c_void_p
)
set_epoch_deadline: Final[Callable[[int, int], None]] = _bind(
    _holding, "wasmtime_context_set_epoch_deadline", None, c_void_p, c_uint64
)
# A module's start function runs inside instantiation: both of these may run guest code.
instantiate: Final[Callable[[int, int, int, int], int | None]] = _bind(
    _releasing, "wasmtime_instance_pre_instantiate", c_void_p, c_void_p, c_void_p, c_void_p, c_void_p
)
call: Final[Callable[[int, int, int, int, int], int | None]] = _bind(
    _releasing, "wasmtime_func_call_unchecked", c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p
)
increment_epoch: Final[Callable[[int], None]] = _bind(_holding, "wasmtime_engine_increment_epoch", None, c_void_p)
instance_export: Final[Callable[[int, int, bytes, int, int], bool]] = _bind(
    _holding, "wasmtime_instance_export_get", c_bool, c_void_p, c_void_p, c_char_p, c_size_t, c_void_p
)
caller_export: Final[Callable[[int, bytes, int, int], bool]] = _bind(
    _holding, "wasmtime_caller_export_get", c_bool, c_void_p, c_char_p, c_size_t, c_void_p
)
caller_context: Final[Callable[[int], int]] = _bind(_holding, "wasmtime_caller_context", c_void_p, c_void_p)
memory_data: Final[Callable[[int, int], int]] = _bind(_holding, "wasmtime_memory_data", c_void_p, c_void_p, c_void_p)
memory_data_size: Final[Callable[[int, int], int]] = _bind(
    _holding, "wasmtime_memory_data_size", c_size_t, c_void_p, c_void_p
)
trap_new: Final[Callable[[int], int]] = _bind(_holding, "wasmtime_trap_new_code", c_void_p, c_uint8)
_trap_code: Final[Callable[[int, int], bool]] = _bind(_holding, "wasmtime_trap_code", c_bool, c_void_p, c_void_p)
_trap_delete: Final[Callable[[int], None]] = _bind(_holding, "wasm_trap_delete", None, c_void_p)
_error_message: Final[Callable[[int, int], None]] = _bind(_holding, "wasmtime_error_message", None, c_void_p, c_void_p)
_error_delete: Final[Callable[[int], None]] = _bind(_holding, "wasmtime_error_delete", None, c_void_p)
_byte_vec_delete: Final[Callable[[int], None]] = _bind(_holding, "wasm_byte_vec_delete", None, c_void_p)
linker_define: Final[Callable[..., int | None]] = _bind(
    _holding,
    "wasmtime_linker_define_func_unchecked",
    *(c_void_p, c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, c_void_p, HOST_FUNCTION, c_void_p, FINALIZER),
)
memory_view: Final[Callable[[int, int, int], memoryview]] = _bind(
    ctypes.pythonapi, "PyMemoryView_FromMemory", ctypes.py_object, c_void_p, c_ssize_t, ctypes.c_int
)
VIEW_WRITABLE: Final = 0x200
"""PyBUF_WRITE."""


def use_pool(config: Any, bounds: Mapping[str, int]) -> None:  # Any: wasmtime-py's pointers are untyped
    """Let the engine made of `config` take memories and instances from a pool reserved once.

    `bounds` names properties of wasmtime's pooling configuration (C API 50); an unknown name is an AttributeError.
    """
    generated = cast("Any", bindings)  # its functions carry no types
    pool = generated.wasmtime_pooling_allocation_config_new()
    for name, bound in bounds.items():
        getattr(generated, f"wasmtime_pooling_allocation_config_{name}_set")(pool, bound)
    generated.wasmtime_pooling_allocation_strategy_set(config.ptr(), pool)
    generated.wasmtime_pooling_allocation_config_delete(pool)


def address(managed: Any) -> int:  # Any: wasmtime-py's pointers are untyped
    """Return the address behind one of wasmtime-py's objects, which must outlive every use of it."""
    value = ctypes.cast(managed.ptr(), c_void_p).value
    assert value is not None, "wasmtime-py never hands out a null pointer"
    return value


def take_trap_code(trap: int) -> int | None:
    """Free the trap and return its code, or None when it has none."""
    code = c_uint8()
    found = _trap_code(trap, ctypes.addressof(code))
    _trap_delete(trap)
    return code.value if found else None


def take_error(error: int) -> str:
    """Free the error and return its text."""
    text = bindings.wasm_byte_vec_t()
    _error_message(error, ctypes.addressof(text))
    _error_delete(error)
    message = bytes(ffi.to_bytes(text)).decode("utf-8", "replace")
    _byte_vec_delete(ctypes.addressof(text))
    return message


_KIND_MEMORY: Final[int] = ffi.WASMTIME_EXTERN_MEMORY.value


class Scratch:
    """Out-parameters, made once and used for every cast: a process runs one cast at a time."""

    def __init__(self) -> None:
        """Allocate the structs and remember their addresses."""
        self._instance: Final = bindings.wasmtime_instance_t()
        self._extern: Final = bindings.wasmtime_extern_t()
        self._memory: Final = bindings.wasmtime_extern_t()
        self._trap: Final = c_void_p()
        self._fuel: Final = c_uint64()
        self._slots: Final = (c_uint32 * WORDS_PER_SLOT)()
        self.instance: Final = ctypes.addressof(self._instance)
        self.extern: Final = ctypes.addressof(self._extern)
        self.extern_item: Final = self.extern + bindings.wasmtime_extern_t.of.offset
        self.memory: Final = ctypes.addressof(self._memory)
        """Where the running guest's export `memory` is put."""
        self.memory_item: Final = self.memory + bindings.wasmtime_extern_t.of.offset
        self.trap: Final = ctypes.addressof(self._trap)
        self.slots: Final = ctypes.addressof(self._slots)
        self._fuel_address: Final = ctypes.addressof(self._fuel)

    def fuel_left(self, context: int) -> int:
        """Return the fuel left in a store."""
        error = get_fuel(context, self._fuel_address)
        assert not error, "fuel is switched on in the one engine configuration"
        return self._fuel.value

    def take_trap(self) -> int | None:
        """Return the address of the trap of the last call, once."""
        trap = self._trap.value
        self._trap.value = None
        return trap

    def has_memory(self) -> bool:
        """Tell whether what is in `memory` is one."""
        return cast("int", self._memory.kind) == _KIND_MEMORY
