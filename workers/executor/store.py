"""The store of the cast that runs, which is all that the engine keeps of a guest: made for one cast, thrown away after.

A process runs one cast at a time, so arguments and results of the engine's functions are allocated once and used again.
"""

import ctypes
from typing import Any, Final

import wasmtime
from wasmtime import _bindings as bindings  # the generated structs, whose layout belongs to the pinned version
from wasmtime import _ffi as ffi

from domain.model.limits import MEMORY_BYTES_MAX, TABLE_ELEMENTS_MAX, CastLimits
from workers.executor import capi
from workers.executor.engine import TABLES_MAX

assert max(TABLE_ELEMENTS_MAX, MEMORY_BYTES_MAX) < 2**31, "what passes as an integer is a C int"
_KIND_MEMORY: Final[int] = ffi.WASMTIME_EXTERN_MEMORY.value
_EXTERN_ITEM: Final[int] = bindings.wasmtime_extern_t.of.offset


class Store:
    """One store after the other. All but `open` may be called only between `open` and `close`."""

    def __init__(self, engine: wasmtime.Engine) -> None:
        """Allocate; the engine must live as long as this."""
        self._engine: Final = capi.passed(capi.address(engine))
        self._store: capi.Argument = None
        self._context: capi.Argument = None
        self._fuel: Final = ctypes.c_uint64()
        self._trap: Final = ctypes.c_void_p()
        self._memory: Final[Any] = bindings.wasmtime_extern_t()  # its fields are Python's integers, its stub says C's
        start = bindings.wasmtime_extern_t()
        self._to_instance: Final = ctypes.byref(bindings.wasmtime_instance_t())
        self._to_start: Final = ctypes.byref(start)
        self._to_start_item: Final = ctypes.byref(start, _EXTERN_ITEM)
        self._to_slots: Final = ctypes.byref((ctypes.c_uint32 * capi.WORDS_PER_SLOT)())
        self._to_memory: Final = ctypes.byref(self._memory)
        self._to_memory_item: Final = ctypes.byref(self._memory, _EXTERN_ITEM)
        self._to_fuel: Final = ctypes.byref(self._fuel)
        self._to_trap: Final = ctypes.byref(self._trap)
        self.is_instantiated = False
        self._knows_memory = False

    def open(self, limits: CastLimits, ticks: int) -> None:
        """Make a store with every limit set; its guest is stopped when the epoch has advanced by `ticks`."""
        self._store = store = capi.passed(capi.store_new(self._engine, None, None))
        self._context = context = capi.passed(capi.store_context(store))
        self.is_instantiated = self._knows_memory = False
        capi.store_limiter(store, capi.number(limits.memory_bytes), TABLE_ELEMENTS_MAX, 1, TABLES_MAX, 1)
        capi.set_fuel(context, capi.number(limits.fuel))
        capi.set_epoch_deadline(context, capi.number(ticks))

    def close(self) -> None:
        """Throw the store away, and the guest's memory with it."""
        capi.store_delete(self._store)

    def instantiate(self, module: capi.Argument) -> int | None:
        """Make the instance of a linked module, which may run its start function; returns an error of the engine."""
        error = capi.instantiate(module, self._context, self._to_instance, self._to_trap)
        # Asking about an instance that is none of this store ends the process.
        self.is_instantiated = not error and not self._trap.value
        return error

    def find_start(self) -> bool:
        """Look for the instance's export `_start`; tells whether there is one."""
        return capi.instance_export(self._context, self._to_instance, b"_start", 6, self._to_start)

    def call_start(self) -> int | None:
        """Call what `find_start` found; returns an error of the engine."""
        return capi.call(self._context, self._to_start_item, self._to_slots, 1, self._to_trap)

    def take_trap(self) -> int | None:
        """Return the address of the trap that ended the guest, once."""
        trap = self._trap.value
        if trap:
            self._trap.value = None
        return trap

    def fuel_left(self) -> int:
        """Return the fuel left."""
        error = capi.get_fuel(self._context, self._to_fuel)
        assert not error, "fuel is switched on in the one engine configuration"
        return self._fuel.value

    def find_memory_of(self, caller: int) -> bool:
        """Look for the export `memory` of the instance that makes a host call; tells whether there is one."""
        found = capi.caller_export(capi.passed(caller), b"memory", 6, self._to_memory)
        self._knows_memory = found and self._memory.kind == _KIND_MEMORY
        return self._knows_memory

    def memory_view(self) -> memoryview:
        """Return the whole of the memory that was found, at its present size."""
        context, memory = self._context, self._to_memory_item
        size = capi.memory_data_size(context, memory)
        return capi.memory_view(capi.passed(capi.memory_data(context, memory)), size, capi.VIEW_WRITABLE)

    def memory_bytes(self) -> int:
        """Return the present size of the instance's export `memory`, 0 without one."""
        if not self._knows_memory:  # no host call of this guest has looked for it
            found = capi.instance_export(self._context, self._to_instance, b"memory", 6, self._to_memory)
            if not found or self._memory.kind != _KIND_MEMORY:
                return 0
        return capi.memory_data_size(self._context, self._to_memory_item)
