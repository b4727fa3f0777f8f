"""DELETE /v1/account over HTTP: who may, and that from its answer on the account is nobody's."""

from tests.api.platform import Api, Rows


def test_an_erased_account_is_nobodys(api: Api, rows: Rows) -> None:
    account = rows.account()
    session, other = rows.session(account), rows.session(account)
    reference = rows.spell(account, "noop")
    cast = api.http.post("/v1/casts", json={"spell": reference, "input": 1}, headers=account.headers).json()
    named = {"x-request-id": f"erase-{account.handle}"}
    erased = api.http.delete("/v1/account", params={"confirm": account.handle}, headers={**session.headers, **named})
    assert erased.status_code == 202, erased.text
    assert erased.json() == {
        "account_id": str(account.id),
        "handle": f"erased-{account.id.hex}",
        "status": "erasing",
    }
    for headers in (session.headers, other.headers, account.headers):
        assert api.http.post("/v1/casts", json={"spell": reference, "input": 1}, headers=headers).status_code == 401
    again = api.http.delete("/v1/account", params={"confirm": account.handle}, headers=session.headers)
    assert again.status_code == 401
    assert api.http.get(f"/v1/spells/{account.handle}").status_code == 404
    assert api.http.get(f"/v1/spells/{reference}").status_code == 404
    entry = rows.execute(
        "SELECT action, account_id FROM audit_log WHERE request_id = %(id)s", {"id": named["x-request-id"]}
    )
    assert entry == [("account.erase", account.id)]
    # The scheduler, which is not running here, goes on with what is much.
    assert rows.execute("SELECT status FROM casts WHERE id = %(id)s", cast) == [("queued",)]
    assert rows.execute("SELECT finished_at FROM erasures WHERE account_id = %(id)s", {"id": account.id}) == [(None,)]


def test_a_browser_loses_its_cookie_with_it(api: Api, rows: Rows) -> None:
    account = rows.account()
    session = rows.session(account)
    headers = {**session.cookie, "origin": api.url, "sec-fetch-site": "same-origin"}
    erased = api.http.delete("/v1/account", params={"confirm": account.handle}, headers=headers)
    assert erased.status_code == 202, erased.text
    assert "Max-Age=0" in erased.headers["set-cookie"]


def test_whoever_signed_in_long_ago_signs_in_again_first(api: Api, rows: Rows) -> None:
    account = rows.account()
    session = rows.session(account)
    rows.execute("UPDATE sessions SET created_at = now() - interval '16 minutes' WHERE id = %(id)s", {"id": session.id})
    refused = api.http.delete("/v1/account", params={"confirm": account.handle}, headers=session.headers)
    assert (refused.status_code, "Sign in again" in refused.json()["detail"]) == (403, True)
    unnamed = api.http.delete("/v1/account", headers=rows.session(account).headers)
    assert unnamed.status_code == 422
    assert account.handle in unnamed.json()["errors"][0]["fix"]
