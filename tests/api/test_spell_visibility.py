"""Who sees a spell, and what whoever casts a version is told: private, unlisted, yanked, deprecated."""

from typing import Any

import httpx
import pytest

from tests.api.platform import Account, Api, Rows


@pytest.fixture
def creator(rows: Rows) -> Account:
    account = rows.account()
    rows.execute(
        "UPDATE api_keys SET scopes = scopes || '{spells:write}'::text[] WHERE id = %(id)s", {"id": account.key_id}
    )
    return account


def change(api: Api, creator: Account, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = api.http.patch(f"/v1/spells/{path}", json=body, headers=creator.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def cast(api: Api, caller: Account, reference: str) -> httpx.Response:
    return api.http.post("/v1/casts", json={"spell": reference}, headers=caller.headers)


def listed(api: Api, headers: dict[str, str], **query: str) -> set[str]:
    """Return every spell that pages of the store show."""
    found: set[str] = set()
    url: str | None = "/v1/spells"
    while url is not None:
        answer = api.http.get(url, params=query if url == "/v1/spells" else None, headers=headers)
        found |= {spell["spell"] for spell in answer.json()["data"]}
        url = answer.links.get("next", {}).get("url")
    return found


def asked_everywhere(api: Api, caller: Account, path: str) -> list[httpx.Response]:
    """Ask for a spell in every way there is for somebody who does not own it."""
    headers = caller.headers
    one = api.http.post("/v1/casts/batch", json={"casts": [{"spell": path}]}, headers=headers).json()["results"][0]
    batch = httpx.Response(one["status"], json=one.get("error", {}))
    return [
        api.http.get(f"/v1/spells/{path}", headers=headers),
        api.http.get(f"/v1/spells/{path}"),
        api.http.get(f"/v1/spells/{path}/versions", headers=headers),
        api.http.get(f"/v1/spells/{path}/versions/1.0.0", headers=headers),
        api.http.get(f"/v1/spells/{path}/versions/latest", headers=headers),
        *(cast(api, caller, f"{path}{selector}") for selector in ("", "@latest", "@1", "@1.0.0")),
        api.http.post("/v1/cast", json={"spell": path}, headers=headers),
        batch,
    ]


def without_names(answer: httpx.Response) -> tuple[int, dict[str, Any]]:
    """Return what an answer says, with the name that was asked for left out."""
    body = {field: value for field, value in answer.json().items() if field not in {"request_id", "instance"}}
    return answer.status_code, {**body, "detail": body["detail"].replace("hidden", "X").replace("nothing", "X")}


def test_a_private_spell_is_to_others_as_if_it_were_not_there(api: Api, rows: Rows, creator: Account) -> None:
    path = rows.spell(creator, "hidden")
    stranger = rows.account()
    ((digest,),) = rows.execute(
        "SELECT encode(digest, 'hex') FROM spell_versions v JOIN spells s ON s.id = v.spell_id"
        " WHERE s.account_id = %(id)s",
        {"id": creator.id},
    )
    assert cast(api, stranger, path).status_code == 202  # and is remembered by the catalog
    change(api, creator, path, {"visibility": "private"})
    for there, not_there in zip(
        asked_everywhere(api, stranger, path),
        asked_everywhere(api, stranger, f"{creator.handle}/nothing"),
        strict=True,
    ):
        assert there.status_code == 404
        assert without_names(there) == without_names(not_there)
    assert cast(api, stranger, f"{path}@sha256:{digest}").status_code == 404
    assert path not in listed(api, stranger.headers) | listed(api, {}) | listed(api, {}, q="hidden")

    assert cast(api, creator, path).status_code == 202
    assert api.http.get(f"/v1/spells/{path}", headers=creator.headers).json()["visibility"] == "private"
    assert path in listed(api, creator.headers, q="hidden")
    budget = {"scope": "spell", "hard_limit_cents": 5}
    spell_id = api.http.get(f"/v1/spells/{path}", headers=creator.headers).json()["id"]
    for caller, status in ((stranger, 404), (creator, 201)):
        asked = api.http.post("/v1/budgets", json={**budget, "scope_id": spell_id}, headers=caller.headers)
        assert asked.status_code == status


def test_an_unlisted_spell_is_cast_and_read_by_name_and_found_by_nobody(api: Api, rows: Rows, creator: Account) -> None:
    path = rows.spell(creator, "quiet")
    stranger = rows.account()
    assert path in listed(api, stranger.headers, q="quiet")
    change(api, creator, path, {"visibility": "unlisted"})
    assert path not in listed(api, stranger.headers, q="quiet") | listed(api, {}) | listed(api, {}, q=creator.handle)
    assert path in listed(api, creator.headers, q="quiet")
    assert api.http.get(f"/v1/spells/{path}").json()["visibility"] == "unlisted"
    assert {answer.status_code for answer in asked_everywhere(api, stranger, path)} == {200, 202}


def test_a_yanked_version_runs_by_its_name_with_a_warning_until_it_is_put_back(
    api: Api, rows: Rows, creator: Account
) -> None:
    path = rows.spell(creator, "words")
    caller = rows.account()
    yank = f"/v1/spells/{path}/versions/1.0.0/yank"
    for _ in range(2):
        assert api.http.post(yank, headers=creator.headers).json()["yanked"] is True
    for selector in ("", "@latest", "@1", "@1.0"):
        assert cast(api, caller, f"{path}{selector}").status_code == 404
    pinned = cast(api, caller, f"{path}@1.0.0")
    assert pinned.status_code == 202
    assert [warning["code"] for warning in pinned.json()["warnings"]] == ["yanked"]
    batch = api.http.post("/v1/casts/batch", json={"casts": [{"spell": f"{path}@1.0.0"}]}, headers=caller.headers)
    assert batch.json()["results"][0]["cast"]["warnings"] == pinned.json()["warnings"]
    assert "warnings" not in api.http.get(pinned.json()["urls"]["self"], headers=caller.headers).json()
    for _ in range(2):
        assert api.http.delete(yank, headers=creator.headers).json()["yanked"] is False
    back = cast(api, caller, path)
    assert (back.status_code, back.json()["version"]) == (202, "1.0.0")
    assert "warnings" not in back.json()
    for version in ("9.9.9", "latest", "%00"):
        gone = f"/v1/spells/{path}/versions/{version}"
        assert api.http.delete(f"{gone}/yank", headers=creator.headers).status_code == 404
        assert api.http.patch(gone, json={"deprecation": None}, headers=creator.headers).status_code == 404


def test_what_is_deprecated_says_why_wherever_it_is_seen_or_cast(api: Api, rows: Rows, creator: Account) -> None:
    path = rows.spell(creator, "old")
    caller = rows.account()
    assert "warnings" not in cast(api, caller, path).json()
    for _ in range(2):
        spell = change(api, creator, path, {"deprecation": "use é/text instead"})
        version = change(api, creator, f"{path}/versions/1.0.0", {"deprecation": "counts wrong"})
    assert (spell["deprecation"], version["deprecation"]) == ("use é/text instead", "counts wrong")
    detail = api.http.get(f"/v1/spells/{path}").json()
    assert (detail["deprecation"], detail["latest"]["deprecation"]) == ("use é/text instead", "counts wrong")
    (shown,) = api.http.get("/v1/spells", params={"q": path}).json()["data"]
    assert shown["deprecation"] == "use é/text instead"
    assert api.http.get(f"/v1/spells/{path}/versions").json()["data"][0]["deprecation"] == "counts wrong"
    key = {"idempotency-key": "one"}
    first = api.http.post("/v1/casts", json={"spell": path}, headers={**caller.headers, **key})
    again = api.http.post("/v1/casts", json={"spell": path}, headers={**caller.headers, **key})
    assert (
        first.json()["warnings"]
        == again.json()["warnings"]
        == [
            {"code": "spell_deprecated", "message": f"{path} is deprecated: use é/text instead"},
            {"code": "version_deprecated", "message": f"{path}@1.0.0 is deprecated: counts wrong"},
        ]
    )
    # What is not named stays, and null takes it back.
    assert change(api, creator, path, {"description": "x"})["deprecation"] == "use é/text instead"
    assert change(api, creator, path, {"deprecation": None})["deprecation"] is None
    assert change(api, creator, f"{path}/versions/1.0.0", {"deprecation": None})["deprecation"] is None
    assert "warnings" not in cast(api, caller, path).json()
    for body in ({"deprecation": ""}, {"deprecation": "x" * 501}, {"deprecation": "a\nb"}, {"deprecation": 1}):
        for place in (path, f"{path}/versions/1.0.0"):
            answer = api.http.patch(f"/v1/spells/{place}", json=body, headers=creator.headers)
            assert answer.status_code == 422
            assert "deprecation" in str(answer.json()["errors"])
