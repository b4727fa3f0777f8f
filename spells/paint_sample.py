"""Paints `samples/julia.png` (640 x 480) with nothing but the standard library: `python -m spells.paint_sample`.

A Julia set has fine detail beside smooth gradients, which shows whether a thumbnail was averaged well.
"""

import math
import struct
import zlib
from pathlib import Path
from typing import Final

WIDTH: Final = 640
HEIGHT: Final = 480
STEPS_MAX: Final = 96
# Beyond this radius every point escapes; a large one makes the colours run smoothly.
ESCAPE_RADIUS: Final = 16.0
SEED: Final = complex(-0.79, 0.156)


def colour(step: float) -> tuple[int, int, int]:
    """Return red, green and blue from 0 to 255 for a number of steps to escape."""
    share = step / STEPS_MAX
    wave = [0.5 - 0.5 * math.cos(math.tau * (share * 1.6 + shift)) for shift in (0.02, 0.12, 0.30)]
    red, green, blue = (round(255 * min(1.0, value * (0.25 + 0.85 * math.sqrt(share)))) for value in wave)
    return red, green, blue


def steps_to_escape(point: complex) -> float:
    """Count the squarings before `point` escapes, with a smooth fraction; STEPS_MAX when it never does."""
    for step in range(STEPS_MAX):
        if abs(point) > ESCAPE_RADIUS:
            return max(0.0, step + 1 - math.log2(math.log(abs(point)) / math.log(ESCAPE_RADIUS)))
        point = point * point + SEED
    return float(STEPS_MAX)


def paint_row(y: int) -> bytes:
    """Return one row of pixels, each three bytes."""
    scale = 3.2 / WIDTH
    row = bytearray()
    for x in range(WIDTH):
        row += bytes(colour(steps_to_escape(complex((x - WIDTH / 2) * scale, (y - HEIGHT / 2) * scale))))
    return bytes(row)


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return one PNG chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(rows: list[bytes], *, width: int) -> bytes:
    """Return an 8-bit RGB PNG. Every row is stored as the difference to the row above, which compresses well."""
    above = bytes(width * 3)
    filtered = bytearray()
    for row in rows:
        filtered.append(2)
        filtered += bytes((here - over) & 0xFF for here, over in zip(row, above, strict=True))
        above = row
    header = struct.pack(">IIBBBBB", width, len(rows), 8, 2, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(filtered), 9)) + chunk(b"IEND", b"")


def main() -> None:
    """Write the picture beside the other samples."""
    target = Path(__file__).parent / "samples" / "julia.png"
    target.write_bytes(png([paint_row(y) for y in range(HEIGHT)], width=WIDTH))
    print(f"{target.name}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
