"""How a Python program meets its input: both travel to CPython on stdin, as one program.

The interpreter reads its program from stdin, so the input rides inside the program and is put where `sys.stdin` reads.
"""

import base64
from typing import Final

# The spell that runs Python.
RUNTIME: Final = "runtime/python"
_HEAD: Final = """\
import base64 as _b, io as _i, sys as _s
_s.stdin = _i.TextIOWrapper(_i.BytesIO(_b.b64decode("{input}")), encoding="utf-8")
exec(compile(_b.b64decode("{program}"), "main.py", "exec"), {{"__name__": "__main__"}})
"""


def program_with_input(program: bytes, stdin: bytes) -> bytes:
    """Return a program that runs `program` (its source) with `stdin` as its standard input."""
    filled = _HEAD.format(
        input=base64.b64encode(stdin).decode("ascii"), program=base64.b64encode(program).decode("ascii")
    )
    return filled.encode("ascii")
