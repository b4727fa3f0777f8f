"""Mistakes in what the headers say of a caller's budgets."""

from tests.planted_faults.fault import fault

HEADERS = "tests/api/test_budget_headers.py::"

FAULTS = (
    fault(
        "late-look-up-believed",
        "Who has cast is told that nothing is held, by a look-up that began before his cast and came after it.",
        (
            "api/budgets/board.py",
            "if known is not None and known.as_of > asked_at:",
            "if known is not None and known.as_of < 0:",
        ),
        tests=(f"{HEADERS}test_a_casts_exact_figures_stay_before_a_look_up_that_began_earlier",),
    ),
    fault(
        "budget-of-another-key-shown",
        "A key sees how much another key of its account may spend, and takes it for its own room.",
        (
            "domain/store/principals.sql",
            "    AND scope IN ('account', 'key') AND scope_id IN (found.account_id, found.id)\n",
            "    AND scope IN ('account', 'key')\n",
        ),
        tests=(f"{HEADERS}test_the_tightest_of_those_that_bind_the_caller",),
    ),
    fault(
        "sessions-without-budgets",
        "A dashboard sees no budget until somebody casts in it.",
        (
            "api/sessions/known.py",
            "        self._board.learn(owner.account_id, owner.budgets, asked_at=asked_at)\n",
            "",
        ),
        tests=(
            f"{HEADERS}test_every_authenticated_answer_has_them_and_no_other",
            f"{HEADERS}test_a_change_shows_within_a_second",
        ),
    ),
    fault(
        "budget-of-one-spell-shown-everywhere",
        "After a cast of one spell each answer shows the budget of that spell, as if it bound every request.",
        (
            "api/budgets/board.py",
            'if standing.limit_id is not None and standing.scope != "spell":',
            "if standing.limit_id is not None:",
        ),
        tests=(f"{HEADERS}test_what_binds_a_cast_alone_shows_on_casts_alone",),
    ),
)
