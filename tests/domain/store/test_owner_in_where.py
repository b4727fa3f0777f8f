"""The first layer: a query on rows that somebody owns says whose, or stands here with the reason why not."""

import re
from pathlib import Path
from typing import Final

from domain.store.queries import load
from tests.domain.store.owned_rows import OF_THE_WORLD, ROWS

STORE: Final = Path(__file__).parents[3] / "domain" / "store"
TOUCHES: Final = re.compile(r"\b(?:FROM|JOIN|UPDATE|INTO)\s+(?:" + "|".join(sorted(OF_THE_WORLD | set(ROWS))) + r")\b")
# Modules whose queries work on batches of many accounts, by the ids of rows their flows have locked, or on all.
ACROSS: Final = {
    "billing_runs": "a run looks at everybody; what it freezes is each account's own, in the module beside it",
    "admission": "a batch holds for every account whose row it has locked",
    "blobs": "modules by digest, whoever published them",
    "ops": "the operator's view",
    "outbox": "what is due is sent, whosever it is; each row names the account whose money it is",
    "outgoing": "the courier takes what is due, whosever it is",
    "payout_runs": "a run looks at everybody; what it freezes is each account's own, in the module beside it",
    "retention": "data whose time is over, whosever it is",
    "schedule": "the clock's own work, over all accounts",
    "settlement": "the gate settles batches, by the ids of casts it has locked",
}
_AFTER_THE_LOCK: Final = "the flow has locked its owner's spell, and found the version in it"
FOUND_BEFORE: Final = {
    "budgets.window_limit_update": "the flow has found the budget among its account's",
    "casts.casts_exist": "ids that were minted for this very batch",
    "casts.casts_status": "one query a tick for all who wait; each is told of the casts it may see",
    "earned.months_read": "the ledger's own name of what a creator has has him in it",
    "identity.account_insert": "makes the owner",
    "identity.key_revoke_leaked": "whoever shows the secret may end it, and the operator alone gets so far",
    "identity.keys_use": "when keys of all accounts were last used, in one statement",
    "payouts.owed_read": "the ledger's own name of what is owed has the creator in it",
    "principals.origins_allowed": "whether any key is for a page, before anybody has said who he is",
    "privacy.export_advance": "the scheduler's own work, on the export it has leased",
    "privacy.export_finish": "the scheduler's own work, on the export it has leased",
    "privacy.exports_expire": "the clock's own work, over all accounts",
    "privacy.exports_give_up": "the clock's own work, over all accounts",
    "privacy.pieces_drop": "the clock's own work, over all accounts",
    "sessions.sessions_use": "when sessions of all accounts were last used, in one statement",
    "spell_prices.prices_latest": "prices are for whoever may see the version; who may is decided on its spell's row",
    "spells.spell_update": _AFTER_THE_LOCK,
    "spells.version_deprecate": _AFTER_THE_LOCK,
    "spells.version_unyank": _AFTER_THE_LOCK,
    "spells.version_yank": _AFTER_THE_LOCK,
    "spells.versions_count": _AFTER_THE_LOCK,
    "spells.versions_offered": "the versions of a spell the caller may see; who may is decided on its row",
    "spells.versions_yank_all": _AFTER_THE_LOCK,
    "webhooks.deliveries_cancel": "the flow has found the endpoint among its account's",
}


def test_a_query_on_what_somebody_owns_says_whose() -> None:
    silent = {
        f"{file.stem}.{name}"
        for file in STORE.glob("*.sql")
        if file.stem not in ACROSS
        for name, query in load(str(file)).items()
        if TOUCHES.search(query.decode()) and "account_id" not in query.decode()
    }
    assert sorted(silent - set(FOUND_BEFORE)) == [], "put the account into the WHERE, or say here why it need not be"
    assert sorted(set(FOUND_BEFORE) - silent) == [], "these say whose rows they mean by now, or are gone"
