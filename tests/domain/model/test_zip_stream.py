"""A zip made in pieces by writers that know nothing of each other, read by others' programs."""

import io
import random
import shutil
import subprocess
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from domain.model.zip_stream import FULL_16, FULL_32, Member, ZipState, ZipWriter

AT = datetime(2026, 11, 20, 15, 4, 6, tzinfo=UTC)


def handed_over(state: ZipState) -> ZipState:
    """As it comes to the process that goes on."""
    return msgspec.json.decode(msgspec.json.encode(state), type=ZipState)


def written(parts: dict[str, list[bytes]]) -> tuple[bytes, ZipState]:
    """Write each chunk in a piece of its own."""
    whole, state = b"", ZipState()
    for name, chunks in parts.items():
        for number, chunk in enumerate(chunks):
            writer = ZipWriter(handed_over(state), modified=AT)
            if number == 0:
                writer.begin(name)
            writer.write(chunk)
            if number == len(chunks) - 1:
                writer.end()
            piece, state = writer.take()
            whole += piece
            assert state.offset == len(whole)
    writer = ZipWriter(handed_over(state), modified=AT)
    writer.finish()
    piece, state = writer.take()
    return whole + piece, state


def test_every_file_comes_back_whole_however_it_was_cut() -> None:
    chance = random.Random(7)
    noise, text = chance.randbytes(300_000), b"spell " * 50_000
    parts = {
        "noise.bin": [noise[:1], noise[1:7_000], b"", noise[7_000:]],
        "text.json": [text[begin : begin + 40_000] for begin in range(0, len(text), 40_000)],
        "empty.json": [b""],
    }
    whole, state = written(parts)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == list(parts)
        for name, chunks in parts.items():
            assert archive.read(name) == b"".join(chunks)
            assert archive.getinfo(name).date_time == (2026, 11, 20, 15, 4, 6)
    assert len(whole) < len(noise) + len(text) // 10, "text is compressed, also in pieces"
    assert [member.size_bytes for member in state.members] == [300_000, 300_000, 0]


def test_other_programs_read_it_too(tmp_path: Path) -> None:
    program = shutil.which("unzip")
    if program is None:
        pytest.skip("needs unzip: apt-get install unzip")
    path = tmp_path / "export.zip"
    path.write_bytes(written({"a.json": [b"[\n", b"1", b"\n]\n"], "b.json": [b"[]\n"]})[0])
    tested = subprocess.run([program, "-t", str(path)], capture_output=True, check=False)
    assert tested.returncode == 0, tested.stderr + tested.stdout
    assert subprocess.run([program, "-p", str(path), "a.json"], capture_output=True, check=True).stdout == b"[\n1\n]\n"


@pytest.mark.parametrize("offset", [FULL_32 - 1, FULL_32, FULL_32 + 1, 5 << 30])
def test_an_archive_beyond_four_gibibytes_is_read_like_any_other(tmp_path: Path, offset: int) -> None:
    """What came before is a hole in the file: nothing points into it."""
    writer = ZipWriter(ZipState(offset=offset), modified=AT)
    writer.begin("far.json")
    writer.write(b'"far"')
    writer.end()
    writer.finish()
    piece, _ = writer.take()
    path = tmp_path / "far.zip"
    with path.open("wb") as file:
        file.seek(offset)
        file.write(piece)
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("far.json").header_offset == offset
        assert archive.read("far.json") == b'"far"'


def test_more_members_than_a_short_number_holds() -> None:
    members = tuple(Member(name=f"{number}", offset=0) for number in range(FULL_16 + 5))
    writer = ZipWriter(ZipState(members=members), modified=AT)
    writer.finish()
    piece, _ = writer.take()
    with zipfile.ZipFile(io.BytesIO(piece)) as archive:
        assert len(archive.namelist()) == FULL_16 + 5


def test_what_would_spoil_the_archive_is_refused() -> None:
    writer = ZipWriter(ZipState(), modified=AT)
    with pytest.raises(AssertionError):
        writer.write(b"x")
    writer.begin("a.json")
    with pytest.raises(AssertionError):
        writer.begin("b.json")
    with pytest.raises(AssertionError):
        writer.finish()
    writer.end()
    with pytest.raises(AssertionError):
        writer.begin("a.json")
