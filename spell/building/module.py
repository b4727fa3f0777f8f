"""Custom sections of WASM modules: how a manifest travels inside the module it describes."""

from collections.abc import Iterator
from typing import Final

MAGIC: Final = b"\0asm\x01\0\0\0"
MANIFEST_SECTION: Final = "spell.manifest"
CUSTOM_SECTION_ID: Final = 0
# A WASM u32 in LEB128 has at most five bytes.
LEB128_BYTES_MAX: Final = 5


class NotAModuleError(ValueError):
    """The bytes are not a core WASM module of version 1, or end in the middle of a section."""


def leb128(number: int) -> bytes:
    """Return an unsigned 32-bit number in LEB128."""
    encoded = bytearray()
    while number >= 0x80:  # noqa: PLR2004 - seven bits a byte is what LEB128 is
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_leb128(data: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned number at `at` and the offset behind it."""
    number = 0
    for index in range(LEB128_BYTES_MAX):
        if at + index >= len(data):
            break
        byte = data[at + index]
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:  # noqa: PLR2004 - the top bit says that more follows
            return number, at + index + 1
    message = f"the number at offset {at} does not end"
    raise NotAModuleError(message)


def custom_sections(module: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each custom section in order. Raises NotAModuleError."""
    if not module.startswith(MAGIC):
        message = "the module does not begin with the magic bytes of WASM version 1"
        raise NotAModuleError(message)
    at = len(MAGIC)
    while at < len(module):
        section_id = module[at]
        size, start = read_leb128(module, at + 1)
        at = start + size
        if at > len(module):
            message = f"the section at offset {start} is longer than the module"
            raise NotAModuleError(message)
        if section_id == CUSTOM_SECTION_ID:
            name_bytes, name_start = read_leb128(module, start)
            content_start = name_start + name_bytes
            yield module[name_start:content_start].decode(), module[content_start:at]


def with_manifest(module: bytes, manifest: bytes) -> bytes:
    """Return the module with `manifest` as its last section, `spell.manifest`. It must not hold one yet."""
    if any(name == MANIFEST_SECTION for name, _ in custom_sections(module)):
        message = f"the module already has a section {MANIFEST_SECTION}"
        raise NotAModuleError(message)
    name = MANIFEST_SECTION.encode()
    content = leb128(len(name)) + name + manifest
    return module + bytes([CUSTOM_SECTION_ID]) + leb128(len(content)) + content


def manifest_of(module: bytes) -> bytes | None:
    """Return the bytes of the embedded manifest, None when there is none."""
    return next((content for name, content in custom_sections(module) if name == MANIFEST_SECTION), None)
