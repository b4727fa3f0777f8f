"""`spell earnings`: the balance, the days, the spells, and the file."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from spell.exits import EXIT_DONE, EXIT_USAGE
from tests.api.platform import Account
from tests.spell.cli.conftest import Spell
from tests.stack import Stack


@pytest.fixture
def creator(spell: Spell, stack: Stack, account: Account, monkeypatch: pytest.MonkeyPatch) -> Spell:
    """A creator to whom somebody owes a dollar and a half for his spell."""
    monkeypatch.setenv("SPELL_URL", stack.url)
    monkeypatch.setenv("SPELL_API_KEY", account.key)
    payer = stack.account()
    name = stack.rows.spell(account, "poem").partition("/")[2]
    stack.rows.execute(
        "INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, spell_id, month)"
        " SELECT %(new)s, %(new)s, 'creator_share', %(debit)s, %(credit)s, 1500000, %(payer)s, s.id, %(month)s"
        " FROM spells s WHERE s.account_id = %(creator)s AND s.name = %(name)s",
        {
            "new": uuid4(),
            "debit": f"receivable:{payer.id}",
            "credit": f"creator:{account.id}",
            "payer": payer.id,
            "creator": account.id,
            "name": name,
            "month": datetime.now(UTC).date().replace(day=1),
        },
    )
    return spell


def test_the_balance_by_month_day_spell_and_as_a_file(creator: Spell, account: Account) -> None:
    today = datetime.now(UTC).date()
    shown = creator("earnings")
    assert shown.code == EXIT_DONE, shown.err
    assert shown.rows[-1] == [f"{today:%Y-%m}", "$1.50", "$0.00"]
    assert "pending" in shown.err
    assert creator("earnings", "--json").json["pending_micros"] == 1_500_000
    assert creator("earnings", "--by", "day").rows == [[f"{today}", "0", "$1.50", "$0.00"]]
    days = creator("earnings", "--by", "day", "--from", f"{today}", "--json").json
    assert [day["date"] for day in days["data"]] == [f"{today}"]
    assert creator("earnings", "--by", "spell").rows == [[f"{account.handle}/poem", "0", "$1.50", "$0.00"]]
    assert creator("earnings", "--export").out.splitlines()[1] == f"{today},{account.handle}/poem,0,1500000,0"


def test_days_go_with_what_has_days(creator: Spell) -> None:
    assert creator("earnings", "--from", "2026-11-01").code == EXIT_USAGE
    assert creator("earnings", "--by", "day", "--from", "November").code == EXIT_USAGE
