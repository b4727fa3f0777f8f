"""The stand-in is as strict as GitHub: about the app, where the browser goes back to, and what comes twice."""

import base64
import hashlib
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from local.github import FakeGithub

CALLBACK = "http://127.0.0.1:8080/auth/callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def github(tmp_path: Path) -> Generator[FakeGithub]:
    made = FakeGithub(tmp_path / "github", callback_url=CALLBACK)
    made.start()
    yield made
    made.stop()


def asked(github: FakeGithub, **changed: str) -> dict[str, str]:
    return {
        "client_id": github.client_id,
        "redirect_uri": CALLBACK,
        "state": "s",
        "scope": "read:user user:email",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changed,
    }


def shown(github: FakeGithub, **changed: str) -> httpx.Response:
    return httpx.get(f"{github.url}/login/oauth/authorize", params=asked(github, **changed))


def decided(github: FakeGithub, login: str, **changed: str) -> dict[str, str]:
    fields = {**asked(github, **changed), "login": login}
    answer = httpx.post(f"{github.url}/login/oauth/authorize", data=fields)
    assert answer.status_code == 302
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def exchanged(github: FakeGithub, code: str, **changed: str) -> dict[str, Any]:
    fields = {
        "client_id": github.client_id,
        "client_secret": github.client_secret,
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
        **changed,
    }
    headers = {"accept": "application/json"}
    answer = httpx.post(f"{github.url}/login/oauth/access_token", data=fields, headers=headers)
    assert answer.status_code == 200  # GitHub says 200 to errors as well
    return answer.json()


def told(github: FakeGithub, path: str, token: str) -> httpx.Response:
    return httpx.get(f"{github.url}/api/v3{path}", headers={"authorization": f"Bearer {token}"})


def test_a_code_becomes_a_token_that_says_who_it_is(github: FakeGithub) -> None:
    back = decided(github, "grace-hopper")
    assert back["state"] == "s"
    token = exchanged(github, back["code"])
    assert (token["token_type"], token["scope"]) == ("bearer", "read:user,user:email")
    assert told(github, "/user", token["access_token"]).json()["login"] == "grace-hopper"
    addresses = told(github, "/user/emails", token["access_token"]).json()
    assert [each["email"] for each in addresses if each["primary"] and each["verified"]] == ["grace@example.com"]


def test_a_code_works_once_for_its_own_app_verifier_and_address(github: FakeGithub) -> None:
    for changed, error in (
        ({"client_secret": "wrong"}, "incorrect_client_credentials"),
        ({"client_id": "wrong"}, "incorrect_client_credentials"),
        ({"code_verifier": "w" * 43}, "bad_verification_code"),
        ({"code_verifier": ""}, "bad_verification_code"),
        ({"code": "wrong"}, "bad_verification_code"),
        ({"redirect_uri": f"{CALLBACK}/other"}, "redirect_uri_mismatch"),
    ):
        code = decided(github, "ada")["code"]
        assert exchanged(github, **{"code": code, **changed})["error"] == error
    code = decided(github, "ada")["code"]
    assert "access_token" in exchanged(github, code)
    assert exchanged(github, code)["error"] == "bad_verification_code"


def test_an_unknown_app_and_an_unknown_way_back_are_refused(github: FakeGithub) -> None:
    assert shown(github).status_code == 200
    assert shown(github, client_id="another").status_code == 404
    assert shown(github, code_challenge_method="plain").status_code == 400
    for target in ("https://evil.example/auth/callback", "http://127.0.0.1:8081/auth/callback", f"{CALLBACK}/../x"):
        answer = shown(github, redirect_uri=target)
        assert answer.headers["location"].startswith(f"{CALLBACK}?error=redirect_uri_mismatch")
    assert shown(github, redirect_uri=f"{CALLBACK}/below").status_code == 200


def test_who_cancels_is_sent_back_without_a_code(github: FakeGithub) -> None:
    back = decided(github, "")
    assert (back["error"], back["state"], "code" in back) == ("access_denied", "s", False)


def test_the_api_tells_nothing_without_a_token_or_its_scope(github: FakeGithub) -> None:
    assert told(github, "/user", "wrong").status_code == 401
    token = exchanged(github, decided(github, "ada", scope="read:user")["code"])["access_token"]
    assert told(github, "/user", token).status_code == 200
    assert told(github, "/user/emails", token).status_code == 404


def test_without_asking_for_json_the_answer_is_a_form(github: FakeGithub) -> None:
    answer = httpx.post(f"{github.url}/login/oauth/access_token", data={"client_id": "x"})
    assert re.match(r"error=incorrect_client_credentials&", answer.text)


def test_it_is_found_on_the_same_port_again(tmp_path: Path) -> None:
    urls = []
    for _ in range(2):
        github = FakeGithub(tmp_path, callback_url=CALLBACK)
        github.start()
        urls.append(github.url)
        github.stop()
    assert urls[0] == urls[1]
