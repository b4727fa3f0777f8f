"""The ground on which `test_access.py` asks: one owner with one of everything, and everybody who might ask for it."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import msgspec

from domain.model.key_rules import KeyScope
from domain.model.modes import Mode
from tests.api.access_table import OPERATOR, WORKER, Row
from tests.api.platform import Account, Api, Rows, Signed

_ADMIN_SCOPE = {OPERATOR: "admin"}
EVERY_SCOPE = frozenset(map(str, KeyScope))


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """One owner with one of everything, made anew for each row, and everybody who might ask for it."""

    paths: dict[str, str]
    spell: str
    owner: Account
    """Has every scope."""
    right: Account
    """Has the one scope of the row."""
    powerless: Account
    """Has every scope but those of the row."""
    revoked: Account
    expired: Account
    stranger: Account
    test_key: Account
    """The owner's, of the kind that moves no money."""
    creator: Account
    """Of the spell that was cast; it may see nothing of the cast."""
    session: Signed
    """The owner, signed in."""
    foreign_session: Signed
    admin: Signed
    """A person with the role `admin`, who has an account of his own."""


def key(rows: Rows, account: Account, scopes: frozenset[str]) -> Account:
    made = rows.key(account.id, account.handle)
    rows.execute(
        "UPDATE api_keys SET scopes = %(scopes)s WHERE id = %(id)s", {"scopes": sorted(scopes), "id": made.key_id}
    )
    return made


def scopes_of(row: Row) -> frozenset[str]:
    names = (_ADMIN_SCOPE.get(row.who, row.who),) if isinstance(row.who, str) else row.who
    return frozenset(names) & EVERY_SCOPE


def make_ground(api: Api, rows: Rows, row: Row) -> Ground:
    account, stranger, creator = rows.account(), rows.account(), rows.account()
    owner = key(rows, account, EVERY_SCOPE)
    revoked, expired = key(rows, account, EVERY_SCOPE), key(rows, account, EVERY_SCOPE)
    rows.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %(id)s", {"id": revoked.key_id})
    rows.execute("UPDATE api_keys SET expires_at = now() WHERE id = %(id)s", {"id": expired.key_id})
    spell = rows.spell(creator, "noop")
    own = rows.spell(account, "own")
    cast = api.http.post("/v1/casts", json={"spell": spell, "input": 1}, headers=owner.headers)
    assert cast.status_code == 202, cast.text
    rows.finish(cast.json()["id"])
    budget = rows.budget(account, 10**9)
    if row.path == "/v1/budgets" and row.method == "DELETE":
        budget = rows.budget(stranger, 10**9)  # theirs; the owner's monthly one is found by its period
        rows.execute("DELETE FROM budgets WHERE id = %(id)s", {"id": budget})
    if row.path.endswith("/yank") and row.method == "DELETE":
        rows.execute("UPDATE spell_versions SET yanked_at = now() WHERE account_id = %(id)s", {"id": account.id})
    session = rows.session(account)
    return Ground(
        paths={
            "session_id": str(rows.session(account).id),
            **(export(rows, session) if "export_id" in row.path else {}),
            **(webhook(api, owner) if "webhook" in row.path or "delivery" in row.path else {}),
            **(order(rows, account) if "order_id" in row.path else {}),
            **(invoice(rows, account) if "invoice_id" in row.path else {}),
            "period": "2026-10",
            "cast_id": cast.json()["id"],
            "prefix": key(rows, account, frozenset()).prefix,
            "budget_id": str(budget),
            "owner": own.partition("/")[0],
            "name": "own",
            "version": "1.0.0",
            "pool": "default",
            "entry_id": "1-1",
            "digest": "0" * 64,
            "code": "not_found",
        },
        spell=spell,
        owner=owner,
        right=key(rows, account, scopes_of(row)),
        powerless=key(rows, account, EVERY_SCOPE - scopes_of(row)),
        revoked=revoked,
        expired=expired,
        stranger=key(rows, stranger, EVERY_SCOPE),
        test_key=rows.key(account.id, account.handle, mode=Mode.TEST),
        creator=key(rows, creator, EVERY_SCOPE),
        session=session,
        foreign_session=rows.session(stranger),
        admin=rows.session(rows.account(), role="admin"),
    )


def webhook(api: Api, owner: Account) -> dict[str, str]:
    made = api.http.post("/v1/webhooks", json={"url": "https://example.com/hook"}, headers=owner.headers)
    tried = api.http.post(f"/v1/webhooks/{made.json()['id']}/test", headers=owner.headers)
    return {"webhook_id": made.json()["id"], "delivery_id": tried.json()["id"]}


def order(rows: Rows, account: Account) -> dict[str, str]:
    parameters = {"id": uuid4(), "account": account.id}
    rows.execute(
        "INSERT INTO credit_orders (id, account_id, origin, package_id, credits, price_micros, granted_micros,"
        " created_at) VALUES (%(id)s, %(account)s, 'checkout', 'starter', 1000, 9990000, 10000000, now())",
        parameters,
    )
    return {"order_id": str(parameters["id"])}


def invoice(rows: Rows, account: Account) -> dict[str, str]:
    parameters = {"id": uuid4(), "account": account.id}
    rows.execute(
        "INSERT INTO billing_runs (id, period, started_at) VALUES (%(id)s, '2001-01-01', now()) ON CONFLICT DO NOTHING",
        parameters,
    )
    rows.execute(
        "INSERT INTO invoices (id, account_id, run_id, period, frozen_at, usage_micros, carry_in_micros,"
        " carry_out_micros, total_cents, calls, description, status)"
        " SELECT %(id)s, %(account)s, id, period, now(), 1, 0, 1, 0, 1, 'x', 'carried' FROM billing_runs"
        " WHERE period = '2001-01-01'",
        parameters,
    )
    return {"invoice_id": str(parameters["id"])}


def export(rows: Rows, session: Signed) -> dict[str, str]:
    parameters = {"id": uuid4(), "user": session.user_id, "bytes": b"zip"}
    rows.execute(
        "INSERT INTO privacy_exports (id, account_id, user_id, status, created_at, expires_at, pieces, size_bytes)"
        " SELECT %(id)s, account_id, id, 'ready', now(), now() + interval '1 day', 1, 3 FROM users WHERE id = %(user)s",
        parameters,
    )
    rows.execute(
        "INSERT INTO privacy_export_pieces SELECT id, account_id, 0, %(bytes)s FROM privacy_exports WHERE id = %(id)s",
        parameters,
    )
    return {"export_id": str(parameters["id"])}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What came of asking as somebody."""

    status: int
    audited: list[str]
    """The actions that stand in the audit log under the id of this very request."""


def ask_all(api: Api, rows: Rows, row: Row, ground: Ground, callers: Mapping[str, dict[str, str]]) -> dict[str, Asked]:
    """Ask as each of `callers`, given with its headers, one after the other."""
    found: dict[str, Asked] = {}
    for caller, headers in callers.items():
        name = f"asked-{uuid4()}"
        status = ask(api, row, ground, {**headers, "x-request-id": name})
        entries = rows.execute("SELECT action FROM audit_log WHERE request_id = %(name)s", {"name": name})
        found[caller] = Asked(status=status, audited=[action for (action,) in entries])
    return found


def ask(api: Api, row: Row, ground: Ground, headers: dict[str, str]) -> int:
    path = row.path
    for name, value in ground.paths.items():
        for kind in ("uuid", "str"):
            path = path.replace(f"{{{name}:{kind}}}", value)
    assert "{" not in path, f"tests/api/test_access.py: say in make_ground what fills {path}"
    body: dict[str, Any] = {}
    if row.json is not None:
        body["content"] = msgspec.json.encode(row.json).replace(b"{spell}", ground.spell.encode())
        headers = {**headers, "content-type": "application/json"}
    elif row.form is not None:
        body["data"] = row.form
    elif row.content is not None:
        body["content"] = row.content
        headers = {**headers, "content-type": "application/wasm"}
    query = "?engine=none" if row.who == WORKER else ""
    headers = {"prefer": "wait=0", **headers}
    with api.http.stream(row.method, path + query, headers=headers, **body) as answer:
        return answer.status_code  # what streams need not end first
