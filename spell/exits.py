"""How the program `spell` ends: the exit codes scripts can rely on, and the error that carries one."""

from typing import Final

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NO: Final = 3
EXIT_MONEY: Final = 4
EXIT_BUSY: Final = 5
EXIT_NOT_AUTHORISED: Final = 6
EXIT_NOT_FOUND: Final = 7
EXIT_CAST_FAILED: Final = 8
# What a shell reports for a program that SIGINT ended.
EXIT_INTERRUPTED: Final = 130


class CommandError(Exception):
    """A command failed for a reason the caller can act on: one line for each, which ends with the next step."""

    def __init__(self, message: str, *, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
