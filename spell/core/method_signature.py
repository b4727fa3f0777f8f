"""What `help()` and editors that run code show of a method made from an operation."""

import inspect
from collections.abc import Callable
from typing import Any, Final

_SELF: Final = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)


def show_as_method(method: Callable[..., Any], operation: Callable[..., Any], wrapper: str) -> None:
    """Give `method` the name, words and parameters of `operation`; what it returns is said to be in `wrapper`.

    `Operation[Cast]` reads as `Cast` with an empty wrapper, as `Awaitable[Cast]` with that one.
    """
    shown = inspect.signature(operation)
    returned = str(shown.return_annotation)
    inner = returned[returned.find("[") + 1 : -1] if "[" in returned else returned
    method.__name__ = operation.__name__
    method.__qualname__ = operation.__qualname__
    method.__doc__ = operation.__doc__
    method.__signature__ = shown.replace(  # type: ignore[attr-defined]
        parameters=[_SELF, *shown.parameters.values()],
        return_annotation=f"{wrapper}[{inner}]" if wrapper else inner,
    )
