"""Pictures in, smaller pictures out: sizes, averages, orientation, and files that want to do harm."""

import base64
import struct
import zlib
from collections.abc import Callable

import msgspec
import pytest

from spells.paint_sample import chunk, png

from .conftest import Cast, Ending

SPELL = "thumbnail"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
# The sRGB value with half the light of white. A naive average of 0 and 255 would give 128.
HALF_LIGHT = 188


def ask(cast: Cast, picture: bytes, **options: object) -> Ending:
    encoded = base64.b64encode(picture).decode()
    return cast(SPELL, msgspec.json.encode({"image_base64": encoded, **options}))


def png_size(picture: bytes) -> tuple[int, int]:
    assert picture.startswith(SIGNATURE)
    width, height = struct.unpack_from(">II", picture, 16)
    return width, height


def jpeg_size(picture: bytes) -> tuple[int, int]:
    assert picture[:2] == b"\xff\xd8"
    at = 2
    while picture[at + 1] not in {0xC0, 0xC2}:
        at += 2 + int(struct.unpack_from(">H", picture, at + 2)[0])
    height, width = struct.unpack_from(">HH", picture, at + 5)
    return width, height


def first_pixel(picture: bytes) -> tuple[int, ...]:
    """Return the first pixel of a PNG: every filter leaves that one as it is."""
    channels = {2: 3, 6: 4}[picture[25]]
    at, data = 8, b""
    while at < len(picture):
        length = int(struct.unpack_from(">I", picture, at)[0])
        if picture[at + 4 : at + 8] == b"IDAT":
            data += picture[at + 8 : at + 8 + length]
        at += 12 + length
    return tuple(zlib.decompress(data)[1 : 1 + channels])


def rgba_png(rows: list[bytes], width: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, len(rows), 8, 6, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def with_orientation(picture: bytes, turn: int, order: str) -> bytes:
    """Return a JPEG with an Exif segment, little endian (`<`) or big endian (`>`)."""
    tiff = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    directory = struct.pack(f"{order}HHHIHHI", 1, 0x0112, 3, 1, turn, 0, 0)
    body = b"Exif\0\0" + tiff + directory
    return picture[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + picture[2:]


def test_the_sample_becomes_a_thumbnail(cast: Cast, sample: Callable[[str], bytes]) -> None:
    ending = cast(SPELL, sample("julia.png"))
    assert ending.exit_code == 0, ending.log
    assert png_size(ending.output) == (256, 192)
    assert len(ending.output) < len(sample("julia.png")) / 3


@pytest.mark.parametrize(
    ("size", "edge", "expected"),
    [
        ((40, 20), 10, (10, 5)),
        ((20, 40), 10, (5, 10)),
        ((300, 1), 10, (10, 1)),
        ((5, 5), 10, (5, 5)),
        ((7, 3), 1, (1, 1)),
    ],
)
def test_sizes(cast: Cast, size: tuple[int, int], edge: int, expected: tuple[int, int]) -> None:
    width, height = size
    picture = png([b"\x10\x80\xf0" * width] * height, width=width)
    small = ask(cast, picture, max_edge_pixels=edge)
    assert png_size(small.output) == expected
    assert first_pixel(small.output) == (0x10, 0x80, 0xF0)
    assert jpeg_size(ask(cast, picture, max_edge_pixels=edge, format="jpeg").output) == expected


def test_light_is_averaged_not_numbers(cast: Cast) -> None:
    rows = [b"\xff\xff\xff\0\0\0" * 8, b"\0\0\0\xff\xff\xff" * 8] * 8
    small = ask(cast, png(rows, width=16), max_edge_pixels=1)
    assert first_pixel(small.output) == (HALF_LIGHT,) * 3


def test_a_part_of_a_pixel_counts_in_part(cast: Cast) -> None:
    # Three columns onto two: the first takes all of white and half of black, two thirds of the light.
    small = ask(cast, png([b"\xff\xff\xff\0\0\0\xff\xff\xff"] * 3, width=3), max_edge_pixels=2)
    assert first_pixel(small.output) == (213, 213, 213)


def test_transparent_pixels_lend_no_colour(cast: Cast) -> None:
    rows = [b"\xff\0\0\xff\0\xff\0\0"] * 2
    small = ask(cast, rgba_png(rows, 2), max_edge_pixels=1)
    assert first_pixel(small.output) == (255, 0, 0, 128)
    on_white = ask(cast, ask(cast, rgba_png(rows, 2), max_edge_pixels=1, format="jpeg").output, format="png")
    red, green, blue = first_pixel(on_white.output)
    assert red > 245
    assert 115 < green < 140
    assert 115 < blue < 140


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("turn", "size", "is_red_first"),
    [(1, (32, 16), True), (2, (32, 16), False), (3, (32, 16), False), (4, (32, 16), True), (5, (16, 32), True),
     (6, (16, 32), True), (7, (16, 32), False), (8, (16, 32), False), (9, (32, 16), True)],
)  # fmt: skip
def test_exif_orientation(cast: Cast, turn: int, size: tuple[int, int], order: str, *, is_red_first: bool) -> None:
    plain = ask(cast, png([b"\xff\0\0" * 16 + b"\0\0\xff" * 16] * 16, width=32), format="jpeg").output
    turned = ask(cast, with_orientation(plain, turn, order), format="png").output
    assert png_size(turned) == size
    red, _, blue = first_pixel(turned)
    assert (red > blue) == is_red_first


def test_every_truncation_is_refused_or_decoded(cast: Cast) -> None:
    picture = ask(cast, png([bytes(range(96))] * 32, width=32), format="jpeg").output
    oriented = with_orientation(picture, 6, "<")
    for length in range(0, len(oriented), 7):
        ending = cast(SPELL, oriented[:length])
        assert ending.exit_code in {0, 1}
        assert (ending.exit_code == 1) == (ending.output == b""), "all or nothing"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the input is empty"),
        (b" \n", "the input is empty"),
        (b"\0", "neither a PNG nor a JPEG"),
        (b"GIF89a", "neither a PNG nor a JPEG"),
        (b'"abc"', "the input is a JSON string; send the picture as input_base64"),
        (b"{", "expected a string at offset 1"),
        (b"{}", "image_base64 is missing or empty"),
        (b'{"image_base64": "%"}', "image_base64 is not base64"),
        (b'{"image_base64": "AA==", "size": 5}', 'does not know: "size"'),
        (b'{"image_base64": "AA==", "max_edge_pixels": 0}', "max_edge_pixels must be from 1 to 2048"),
        (b'{"image_base64": "AA==", "max_edge_pixels": -1}', "expected a whole number"),
        (b'{"image_base64": "AA==", "quality": 101}', "quality must be from 1 to 100"),
        (b'{"image_base64": "AA==", "format": "gif"}', "format must be png or jpeg"),
        (b'{"image_base64": "AA=="} x', "expected nothing more"),
        (b'{"image_base64": "AA=="', "expected , or }"),
        (b'{"image_base64": "AA==', "expected a closing quote"),
    ],
)
def test_bad_input_is_explained(cast: Cast, data: bytes, message: str) -> None:
    ending = cast(SPELL, data)
    assert (ending.exit_code, ending.output) == (1, b"")
    assert message in ending.log


def test_a_truncated_png_is_damaged(cast: Cast, sample: Callable[[str], bytes]) -> None:
    for length in (10, 30, 1000, 100_000):
        ending = cast(SPELL, sample("julia.png")[:length])
        assert (ending.exit_code, ending.output) == (1, b"")
        assert "the picture is damaged" in ending.log


def test_a_picture_that_would_not_fit_is_refused_by_its_header(cast: Cast) -> None:
    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    ending = cast(SPELL, SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    assert ending.exit_code == 1
    assert "20000 x 20000 pixels is too large" in ending.log


def test_the_largest_picture_that_is_accepted_fits_in_memory(cast: Cast) -> None:
    width, height = 4600, 4100  # x 4 bytes: just below the 72 MiB that main.go allows
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    data = zlib.compress(bytes((1 + 4 * width) * height), 1)
    picture = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    ending = cast(SPELL, picture, fuel=10**11)
    assert ending.exit_code == 0, ending.log
    assert png_size(ending.output) == (256, 228)
