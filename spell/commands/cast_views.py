"""How a cast is shown: its output on standard output, everything about it on standard error."""

import base64

import msgspec

from spell.errors import ApiError, SpellError
from spell.exits import EXIT_CAST_FAILED, EXIT_DONE
from spell.models.casts import Cast
from spell.screen import STATUS_STYLES, dollars, print_output, safe_lines, say, size


def output_of(cast: Cast) -> bytes:
    """Return what the spell wrote, byte for byte (JSON as the platform passed it on)."""
    if cast.output_encoding is None:
        return b""
    if cast.output_encoding == "json":
        return bytes(cast.output_raw)
    text = msgspec.json.decode(cast.output_raw, type=str)
    return base64.b64decode(text) if cast.output_encoding == "base64" else text.encode()


def show_ended(cast: Cast) -> None:
    """Show a cast that has ended: output, log, what it used and cost."""
    if cast.output_encoding is not None:
        print_output(output_of(cast), cast.output_encoding)
    if cast.log:
        say(safe_lines(cast.log.rstrip("\n")), style="dim")
    say(summary(cast), style=STATUS_STYLES.get(cast.status))


def summary(cast: Cast) -> str:
    """Return one line about a cast: status, cost, what it used, its id."""
    parts = [cast.status if cast.error is None else f"{cast.status} ({cast.error.code}: {cast.error.message})"]
    if cast.cost.cost_micros is None:
        parts.append(f"holds {dollars(cast.cost.held_micros)}")
    else:
        parts.append(f"cost {dollars(cast.cost.cost_micros)} ({cast.cost.funding})")
    if cast.usage is not None and cast.usage.fuel is not None:
        parts.append(f"{cast.usage.fuel:,} fuel")
    if cast.usage is not None and cast.usage.duration_ms is not None:
        parts.append(f"{cast.usage.duration_ms:g} ms")
    return " · ".join([*parts, cast.id])


def short_output(cast: Cast) -> str:
    """Return the output in one line: bytes as their size."""
    if cast.error is not None:
        return f"{cast.error.code}: {cast.error.message}"
    if cast.output_encoding == "base64":
        return f"{size(len(output_of(cast)))} of bytes"
    return output_of(cast).decode("utf-8", "replace")


def exit_code_of(cast: Cast) -> int:
    """Return how a command ends that waited for this cast."""
    return EXIT_DONE if cast.status == "succeeded" else EXIT_CAST_FAILED


def refusal(error: SpellError) -> dict[str, object]:
    """Return a refusal as JSON for `--json`; `error` is null when the platform did not answer."""
    if isinstance(error, ApiError):
        return {"error": error.code, "status": error.status, "detail": error.detail}
    return {"error": None, "status": None, "detail": str(error)}
