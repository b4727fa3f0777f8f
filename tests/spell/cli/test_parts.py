"""The parts commands are made of: amounts, widths, configuration."""

import tomllib
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spell.commands.amounts import DOLLARS_TO_CENTS, DOLLARS_TO_MICROS, LimitOption
from spell.commands.inputs import INPUT_BYTES_MAX, read_input
from spell.config import Config, Server, config_path, read_config, write_config
from spell.exits import EXIT_USAGE, CommandError
from spell.screen import dollars, gauge, size

# Whatever UTF-8 can carry.
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000001"),
        (1_001, "$0.001001"),
        (2_500_000, "$2.50"),
        (10**12, "$1,000,000.00"),
        (-5, "-$0.000005"),
    ],
)
def test_money_is_shown_exactly(micros: int, text: str) -> None:
    assert dollars(micros) == text


@given(st.integers(0, 10**12))
def test_what_is_shown_can_be_typed(micros: int) -> None:
    assert DOLLARS_TO_MICROS.convert(dollars(micros).replace(",", ""), None, None) == micros


@pytest.mark.parametrize("text", ["", "five", "-1", "1e400", "nan", "inf", "0.001", "1000001"])
def test_what_is_no_amount_of_cents_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        DOLLARS_TO_CENTS.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("fuel=10M", ("fuel", 10_000_000)),
        ("fuel=1_000", ("fuel", 1_000)),
        ("memory_bytes=64MiB", ("memory_bytes", 64 * 1024**2)),
        ("wall_ms=500", ("wall_ms", 500)),
    ],
)
def test_limits_are_typed_with_units(text: str, limit: tuple[str, int]) -> None:
    assert LimitOption().convert(text, None, None) == limit


@pytest.mark.parametrize("text", ["fuel", "fuel=", "fuel=-1", "fuel=1.5", "fuel=1X", "speed=1", "=1", "fuel=٣"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        LimitOption().convert(text, None, None)


def test_a_gauge_is_full_when_the_limit_is_used() -> None:
    assert gauge(0, 100).plain == "░" * 20 + "   0 %"
    assert gauge(50, 100).plain == "█" * 10 + "░" * 10 + "  50 %"
    assert gauge(100, 100).plain == "█" * 20 + " 100 %"
    assert gauge(300, 100).plain.startswith("█" * 20 + " 300")
    assert gauge(0, 0).plain == "█" * 20 + " 100 %"
    assert [gauge(used, 100).spans[0].style for used in (10, 80, 100)] == ["green", "yellow", "red"]


def test_sizes_are_for_people() -> None:
    assert [size(number) for number in (0, 1023, 1024, 1024**2)] == ["0 B", "1023 B", "1.0 KiB", "1.0 MiB"]


@pytest.mark.parametrize("text", ["text", "{broken", "NaN", "a\nb", '"two" "documents"'])
def test_text_that_is_no_json_becomes_a_json_string(text: str) -> None:
    assert read_input(text, raw=False).is_json
    assert read_input(text, raw=True).stdin == text.encode()


def test_a_file_is_json_or_bytes_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(b' {"a": 1}\n')
    assert (read_input(f"@{path}", raw=False).stdin, read_input(f"@{path}", raw=True).stdin) == (
        b'{"a": 1}',
        b' {"a": 1}\n',
    )
    path.write_bytes(b'{"a": "\xff"}')
    assert not read_input(f"@{path}", raw=False).is_json
    path.write_bytes(b"[" * 1_000_000)
    assert not read_input(f"@{path}", raw=False).is_json
    path.write_bytes(bytes(INPUT_BYTES_MAX + 1))
    with pytest.raises(CommandError) as refused:
        read_input(f"@{path}", raw=True)
    assert refused.value.exit_code == EXIT_USAGE


@given(st.dictionaries(WORDS, WORDS, max_size=4))
def test_a_configuration_comes_back_as_it_was_written(keys: dict[str, str]) -> None:
    path = config_path()
    written = Config(default=next(iter(keys), ""), servers={url: Server(key=key) for url, key in keys.items()})
    write_config(path, written)
    assert read_config(path) == written
    assert tomllib.loads(path.read_text()) is not None
    assert path.stat().st_mode & 0o777 == 0o600
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_the_xdg_folder_is_used_where_it_is_absolute() -> None:
    assert config_path({"XDG_CONFIG_HOME": "/elsewhere"}) == Path("/elsewhere/spell/config.toml")
    assert config_path({"XDG_CONFIG_HOME": "relative"}) == config_path({})
