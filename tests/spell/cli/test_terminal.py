"""What a person sees: the program in a real terminal of a given width, with Ctrl-C, closed pipes and no colour."""

import codecs
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from spell.exits import EXIT_DONE, EXIT_INTERRUPTED
from tests.api.platform import Account
from tests.spell.cli.conftest import PATIENCE_SECONDS, PROGRAM, Spell
from tests.stack import Stack

# Whoever is run in the background of a script ignores Ctrl-C, and hands that on to these programs.
HEED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
HEEDING = (PROGRAM[0], "-c", HEED + PROGRAM[2])
# A session's leader takes the terminal for its own, so that Ctrl-C typed there is a signal to it.
TAKE = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
ON_TERMINAL = (PROGRAM[0], "-c", TAKE + HEEDING[2])
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")


class Terminal:
    """A program on a pseudo-terminal of its own, as its session's leader."""

    def __init__(self, arguments: list[str], environment: dict[str, str], *, columns: int) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process = subprocess.Popen(
            [*ON_TERMINAL, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self.seen = ""
        # A character may come in two pieces.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read_until(self, text: str) -> str:
        """Return all that was shown, as soon as `text` is in it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} did not appear in {self.seen!r}"
            if not self._read():
                break
        assert text in self.seen, self.seen
        return self.seen

    def end(self) -> int:
        """Read to the end and return the exit code."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._read():
            assert time.monotonic() < deadline, f"it does not end: {self.seen!r}"
        os.close(self.master)
        return self.process.wait(PATIENCE_SECONDS)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def _read(self) -> bool:
        ready, _, _ = select.select([self.master], [], [], 1.0)
        if not ready:
            return True
        try:
            piece = os.read(self.master, 65_536)
        except OSError:  # Linux says EIO when the last program on the terminal has gone
            return False
        self.seen += self._decoder.decode(piece)
        return bool(piece)


@pytest.fixture
def environment(stack: Stack, account: Account, home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "LINES"}}
    return {**kept, "SPELL_URL": stack.url, "SPELL_API_KEY": account.key, "TERM": "xterm-256color", "HOME": str(home)}


@pytest.mark.parametrize("columns", [80, 120])
def test_tables_fit_the_terminal(user: Spell, environment: dict[str, str], columns: int) -> None:
    user("cast", "dev/echo", "1", "2", "3")
    user("keys", "create", "--name", "a name that is much longer than any column can be in a terminal of eighty")
    user("budgets", "set", "--hard", "5")
    for command in ("casts list", "keys list", "budgets list", "usage", "--help"):
        terminal = Terminal(command.split(), environment, columns=columns)
        assert terminal.end() == EXIT_DONE, terminal.seen
        lines = ESCAPE.sub("", terminal.seen).replace("\r", "").splitlines()
        assert [line for line in lines if len(line) > columns] == []
        assert len(lines) > 1


def test_colour_is_for_terminals_and_for_those_who_want_it(user: Spell, environment: dict[str, str]) -> None:
    user("cast", "dev/echo", "1")
    coloured = Terminal(["casts", "list"], environment, columns=100)
    assert coloured.end() == EXIT_DONE
    assert COLOUR.search(coloured.seen)
    plain = Terminal(["casts", "list"], {**environment, "NO_COLOR": "1"}, columns=100)
    assert plain.end() == EXIT_DONE
    # Bold and dim are no colours; NO_COLOR takes the colours.
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?(?:3[0-7]|38)[;m]", plain.seen)
    assert "\x1b" not in user("casts", "list").out


def test_a_key_is_typed_without_being_shown(environment: dict[str, str], account: Account, stack: Stack) -> None:
    del environment["SPELL_API_KEY"], environment["SPELL_URL"]
    terminal = Terminal(["login", "--with-key", "--url", stack.url], environment, columns=100)
    terminal.read_until("API key for")
    terminal.type(f"{account.key}\n")
    assert terminal.end() == EXIT_DONE, terminal.seen
    assert f"You are {account.handle}" in terminal.seen
    assert account.key not in terminal.seen


def test_many_casts_show_a_line_each(environment: dict[str, str]) -> None:
    terminal = Terminal(["cast", "dev/echo", *(str(number) for number in range(30))], environment, columns=80)
    assert terminal.end() == EXIT_DONE, terminal.seen
    lines = [line for line in ESCAPE.sub("", terminal.seen).replace("\r", "\n").splitlines() if "  succeeded  " in line]
    assert len(lines) == 30
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert "30 succeeded, 0 failed, 0 refused" in terminal.seen


def test_what_a_stranger_wrote_moves_no_cursor(user: Spell, environment: dict[str, str]) -> None:
    evil = '"\\u001b[2J\\u001b]0;owned\\u0007"'
    user("cast", "dev/echo", "--raw", "\x1b[2J\x1b]0;owned\x07", "--no-wait")
    cast_id = user("casts", "list", "--limit", "1", "--json").json[0]["id"]
    user("casts", "show", cast_id, "--watch")
    shown = Terminal(["casts", "show", cast_id], environment, columns=100)
    assert shown.end() == EXIT_DONE
    assert "\x1b[2J" not in shown.seen
    assert "\x1b]0;" not in shown.seen
    assert "owned" in shown.seen
    once = Terminal(["cast", "dev/echo", evil], environment, columns=100)
    assert once.end() == EXIT_DONE
    assert "\x1b[2J" not in once.seen


def test_ctrl_c_ends_it_in_one_line(environment: dict[str, str]) -> None:
    terminal = Terminal(["webhooks", "listen"], environment, columns=100)
    terminal.read_until("Listening")
    terminal.type("\x03")
    assert terminal.end() == EXIT_INTERRUPTED
    assert "interrupted" in terminal.seen
    assert "Traceback" not in terminal.seen


def test_a_signal_ends_it_as_well(environment: dict[str, str]) -> None:
    with subprocess.Popen(
        [*HEEDING, "webhooks", "listen"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        assert b"Listening" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            process.kill()
    assert (process.returncode, out, err.strip()) == (EXIT_INTERRUPTED, b"", b"interrupted")


def test_a_reader_that_has_seen_enough_is_no_error(user: Spell, environment: dict[str, str]) -> None:
    user("cast", "dev/echo", *(str(number) for number in range(40)))
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(
            [*PROGRAM, "casts", "list", "--limit", "40"],
            env=environment,
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert done.stderr == b""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shells_script_is_one_the_shell_can_read(spell: Spell, shell: str) -> None:
    script = spell("completion", shell)
    assert script.code == EXIT_DONE
    assert "_SPELL_COMPLETE" in script.out
    if shutil.which(shell) is not None:
        checked = subprocess.run([shell, "-n"], input=script.out, text=True, capture_output=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_completion_knows_commands_options_and_values(environment: dict[str, str]) -> None:
    def completed(words: str, index: int) -> str:
        asked = {**environment, "_SPELL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(index)}
        return subprocess.run(PROGRAM, env=asked, capture_output=True, text=True, check=False).stdout

    assert "plain,casts" in completed("spell cas", 1)
    assert "plain,--status" in completed("spell casts list --st", 3)
    assert "plain,succeeded" in completed("spell casts list --status su", 4)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux: apt-get install tmux")
def test_in_tmux_a_cast_reads_as_a_person_expects(environment: dict[str, str], home: Path, tmp_path: Path) -> None:
    """A terminal that somebody else wrote shows it: output, then one line about it."""
    tmux = ["tmux", "-S", str(tmp_path / "tmux"), "-f", os.devnull]
    command = " ".join(f"'{part}'" for part in [*PROGRAM, "cast", "dev/echo", '{"a": 1}'])
    done = home / "done"
    started = [*tmux, "new-session", "-d", "-x", "80", "-y", "24", f"{command}; touch {done}; sleep 600"]
    subprocess.run(started, env=environment, check=True, timeout=PATIENCE_SECONDS)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not done.exists():
            assert time.monotonic() < deadline, "the cast did not end in tmux"
            time.sleep(0.1)
        screen = subprocess.run([*tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True).stdout
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, timeout=PATIENCE_SECONDS)
    assert screen.startswith('{\n  "a": 1\n}\nsucceeded · cost $0.00')
