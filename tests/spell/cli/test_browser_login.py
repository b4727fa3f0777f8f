"""`spell login` in a browser: a code, a page, a session that only its owner can read."""

import os
import re
import subprocess
from collections.abc import Generator, Mapping
from pathlib import Path

import httpx
import pytest

from spell.commands.browser_login import BrowserLogin, DeviceCode, http_client
from spell.config import config_path, read_config
from spell.errors import NotFound
from spell.exits import EXIT_DONE, EXIT_NO, EXIT_NOT_AUTHORISED, EXIT_USAGE, CommandError
from tests.api.platform import Account, Signed
from tests.spell.cli.conftest import PATIENCE_SECONDS, PROGRAM, Spell
from tests.stack import Stack

CODE = re.compile(r"Your code is ([A-Z]{4}-[A-Z]{4})")


@pytest.fixture
def signed(stack: Stack, account: Account) -> Signed:
    return stack.rows.session(account)


def decide(stack: Stack, signed: Signed, code: str, decision: str) -> httpx.Response:
    """Press a button of the page, as a browser does."""
    return httpx.post(
        f"{stack.url}/auth/device/confirm",
        data={"user_code": code, "decision": decision},
        headers={**signed.cookie, "origin": stack.url, "sec-fetch-site": "same-origin"},
    )


class Begun:
    """`spell login --no-browser` on its way, with the code it shows."""

    def __init__(self, stack: Stack, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, "login", "--no-browser", "--url", stack.url],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stderr is not None
        self.said = ""
        while (found := CODE.search(self.said)) is None:
            line = self.process.stderr.readline().decode()
            assert line, self.said
            self.said += line
        self.code = found[1]

    def end(self) -> int:
        out, err = self.process.communicate(timeout=PATIENCE_SECONDS)
        self.said += out.decode() + err.decode()
        return self.process.returncode


@pytest.fixture
def begun(stack: Stack, home: Path) -> Generator[Begun]:
    started = Begun(stack, {**os.environ, "HOME": str(home)})
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.communicate()


def test_a_confirmed_code_becomes_a_session_of_this_machine(
    begun: Begun, spell: Spell, stack: Stack, account: Account, signed: Signed
) -> None:
    assert decide(stack, signed, begun.code, "approve").status_code == 200
    assert begun.end() == EXIT_DONE, begun.said
    kept = read_config(config_path()).servers[stack.url]
    assert kept.key.startswith("ss_")
    assert config_path().stat().st_mode & 0o777 == 0o600
    assert kept.key not in begun.said
    known = dict(spell("whoami").rows)
    assert known["account"] == account.handle
    assert kept.key[:8] not in known["key"]
    assert spell("cast", "dev/echo", "1").out == "1\n"
    ours = httpx.get(f"{stack.url}/v1/sessions", headers=signed.headers).json()["data"]
    assert [row["device"].startswith("spell on ") for row in ours if row["kind"] == "cli"] == [True]
    assert "ended" in spell("logout").err
    again = httpx.post(f"{stack.url}/auth/logout", headers={"authorization": f"Bearer {kept.key}"})
    assert again.status_code == 401


def test_a_code_that_is_turned_down_lets_nobody_in(begun: Begun, stack: Stack, signed: Signed) -> None:
    assert decide(stack, signed, begun.code, "deny").status_code == 200
    assert decide(stack, signed, begun.code, "approve").status_code == 404
    assert begun.end() == EXIT_NO, begun.said
    assert not config_path().exists()


def test_without_a_terminal_it_says_what_else_there_is(spell: Spell, stack: Stack) -> None:
    refused = spell("login", "--url", stack.url)
    assert refused.code == EXIT_USAGE
    assert "--with-key" in refused.err
    assert "--no-browser" in refused.err


def answering(*answers: tuple[int, Mapping[str, object]] | None) -> httpx.Client:
    """Return a client of a platform that gives these answers one after the other; None is no answer."""
    left = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        given = next(left)
        if given is None:
            message = "gone"
            raise httpx.ConnectError(message, request=request)
        return httpx.Response(given[0], json=given[1])

    return httpx.Client(base_url="http://platform.test", transport=httpx.MockTransport(answer))


def problem(code: str, status: int = 400) -> tuple[int, Mapping[str, object]]:
    return status, {"error": code, "status": status, "detail": code, "retryable": code == "authorization_pending"}


CODES = DeviceCode(
    device_code="d",
    user_code="BCDF-GHJK",
    verification_uri="http://platform.test/auth/device",
    verification_uri_complete="http://platform.test/auth/device?user_code=BCDF-GHJK",
    expires_in=60,
    interval=5,
)


def test_it_asks_as_slowly_as_it_is_told_and_outlasts_an_outage() -> None:
    now = [0.0]
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    answers = (problem("authorization_pending"), problem("slow_down"), None, (200, {"session_token": "ss_x"}))
    with answering(*answers) as http:
        assert BrowserLogin(http, sleep=sleep, clock=lambda: now[0]).wait(CODES) == "ss_x"
    assert pauses == [5, 5, 10, 15]


@pytest.mark.parametrize(("code", "exit_code"), [("access_denied", EXIT_NO), ("expired_token", EXIT_NOT_AUTHORISED)])
def test_it_stops_when_there_is_nothing_to_wait_for(code: str, exit_code: int) -> None:
    with answering(problem(code)) as http, pytest.raises(CommandError) as ended:
        BrowserLogin(http, sleep=lambda _: None).wait(CODES)
    assert ended.value.exit_code == exit_code


def test_nobody_is_waited_for_longer_than_the_code_is_good() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with answering(*[problem("authorization_pending")] * 13) as http, pytest.raises(CommandError) as ended:
        BrowserLogin(http, sleep=sleep, clock=lambda: now[0]).wait(CODES)
    assert ended.value.exit_code == EXIT_NOT_AUTHORISED
    assert now[0] == 60


def test_a_platform_without_such_logins_is_an_error() -> None:
    with answering(problem("not_found", 404)) as http, pytest.raises(NotFound):
        BrowserLogin(http).begin()


def test_the_client_of_a_login_shows_no_credentials() -> None:
    with http_client("http://platform.test") as http:
        assert "authorization" not in http.headers
