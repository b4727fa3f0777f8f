"""The part of wasmtime's C API that a cast needs, typed once.

wasmtime-py's own wrappers cost several microseconds per host call (a `Caller`, a `Val` per parameter, a lookup in a
slab) and keep the last exception of any host function in one process-wide variable. Here a host function gets the raw
parameter slots, so a call from the guest costs about a microsecond, and no exception ever crosses the boundary.

Functions that may run guest code release the GIL (`CDLL`), so that the epoch ticker can run beside them; the short
ones keep it (`PyDLL`), which saves a release and a re-acquire each.

Where ctypes knows the types of parameters, it makes each argument anew, which costs as much as the call. So what every
cast calls has none declared (`_bind_bare`) and is given what passes as it is: what `ctypes.byref`, `passed` and
`number` return, bytes, None, and integers that fit a C int.
"""

import ctypes
from collections.abc import Callable, Mapping
from ctypes import c_bool, c_char_p, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from typing import Any, Final, TypeAlias, cast

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

Argument: TypeAlias = Any
"""What ctypes makes of an argument before it calls; its own name for it is not public."""


def _bind(library: ctypes.CDLL, name: str, result: Any, *parameters: Any) -> Callable[..., Any]:  # Any: ctypes' seam
    function = library[name]
    function.restype = result
    function.argtypes = parameters
    return function


def _bind_bare(library: ctypes.CDLL, name: str, result: Any) -> Callable[..., Any]:  # Any: ctypes' seam
    """Bind a function whose arguments pass as they are; an address as an integer would lose half of its bits."""
    function = library[name]
    function.restype = result
    return function


passed: Final[Callable[[int], Argument]] = c_void_p.from_param
"""Makes an argument of an address, which passes any number of times."""
number: Final[Callable[[int], Argument]] = c_uint64.from_param
"""Makes one of a number of 64 bits."""
store_new: Final[Callable[..., int]] = _bind_bare(_holding, "wasmtime_store_new", c_void_p)
store_context: Final[Callable[..., int]] = _bind_bare(_holding, "wasmtime_store_context", c_void_p)
store_limiter: Final[Callable[..., None]] = _bind_bare(_holding, "wasmtime_store_limiter", None)
store_delete: Final[Callable[..., None]] = _bind_bare(_holding, "wasmtime_store_delete", None)
set_fuel: Final[Callable[..., int | None]] = _bind_bare(_holding, "wasmtime_context_set_fuel", c_void_p)
get_fuel: Final[Callable[..., int | None]] = _bind_bare(_holding, "wasmtime_context_get_fuel", c_void_p)
set_epoch_deadline: Final[Callable[..., None]] = _bind_bare(_holding, "wasmtime_context_set_epoch_deadline", None)
# A module's start function runs inside instantiation: both of these may run guest code.
instantiate: Final[Callable[..., int | None]] = _bind_bare(_releasing, "wasmtime_instance_pre_instantiate", c_void_p)
call: Final[Callable[..., int | None]] = _bind_bare(_releasing, "wasmtime_func_call_unchecked", c_void_p)
instance_export: Final[Callable[..., bool]] = _bind_bare(_holding, "wasmtime_instance_export_get", c_bool)
caller_export: Final[Callable[..., bool]] = _bind_bare(_holding, "wasmtime_caller_export_get", c_bool)
memory_data: Final[Callable[..., int]] = _bind_bare(_holding, "wasmtime_memory_data", c_void_p)
memory_data_size: Final[Callable[..., int]] = _bind_bare(_holding, "wasmtime_memory_data_size", c_size_t)
memory_view: Final[Callable[..., memoryview]] = _bind_bare(
    ctypes.pythonapi, "PyMemoryView_FromMemory", ctypes.py_object
)
VIEW_WRITABLE: Final = 0x200
"""PyBUF_WRITE."""
increment_epoch: Final[Callable[[int], None]] = _bind(_holding, "wasmtime_engine_increment_epoch", None, c_void_p)
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
