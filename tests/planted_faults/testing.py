"""Mistakes with test keys: money that moves, live data they see, allowances they take, powers they get."""

from tests.planted_faults.fault import fault

FLOW = "tests/domain/flow/test_test_keys.py::"
MODEL = "tests/domain/model/test_modes.py::"
HTTP = "tests/api/test_test_keys.py::"

FAULTS = (
    fault(
        "test-cast-moves-money",
        "What a test key casts is held against budgets and credits and charged like any other.",
        (
            "domain/model/admission.py",
            "            judge_cast, remembered = self._judge_test_cast, self._remembered_tests\n",
            "            remembered = self._remembered_tests\n",
        ),
        tests=(
            f"{MODEL}test_a_test_cast_takes_nothing_that_is_money",
            f"{FLOW}test_a_test_cast_moves_no_money_whatever_becomes_of_it",
        ),
    ),
    fault(
        "test-cast-settled-at-its-price",
        "A test cast that held nothing is priced when it ends: the ledger stops at it, or it is charged.",
        ("domain/model/settlement.py", "    if cast.funding is Funding.TEST:\n        return pricing.NOTHING\n", ""),
        tests=(f"{FLOW}test_a_test_cast_moves_no_money_whatever_becomes_of_it",),
    ),
    fault(
        "test-cast-listed-among-live-ones",
        "Who counts his casts counts his tests, and a dashboard shows orders nobody made.",
        (
            "domain/store/casts.sql",
            "WHERE account_id = %(account_id)s AND funding <> 'test'\n",
            "WHERE account_id = %(account_id)s\n",
        ),
        tests=(
            f"{FLOW}test_lists_and_sums_hold_one_mode_alone",
            f"{HTTP}test_a_test_cast_is_seen_apart_from_live_ones",
        ),
    ),
    fault(
        "test-casts-in-the-bill",
        "The export somebody checks an invoice by has casts in it that are on none.",
        (
            "domain/store/usage.sql",
            "AND c.id < %(ends)s AND (c.funding = 'test') = %(test)s\n",
            "AND c.id < %(ends)s\n",
        ),
        tests=(f"{FLOW}test_lists_and_sums_hold_one_mode_alone",),
    ),
    fault(
        "test-key-spends-the-allowance",
        "A suite of tests uses up the free casts of the month.",
        (
            "domain/model/admission.py",
            "        funded, terms = (Funding.TEST, ()), (price, NO_PRICE)\n",
            "        funded, terms = (Funding.FREE, ()), (price, NO_PRICE)\n",
        ),
        tests=(
            f"{MODEL}test_a_test_cast_takes_nothing_that_is_money",
            f"{FLOW}test_a_test_cast_moves_no_money_whatever_becomes_of_it",
        ),
    ),
    fault(
        "test-casts-without-end",
        "A test key is a free tier without a bound.",
        ("domain/model/admission.py", "        month.test_casts += 1\n", ""),
        (
            "domain/store/admission.sql",
            "  test_casts = m.test_casts + r.test\n",
            "  test_casts = m.test_casts\n",
        ),
        tests=(
            f"{MODEL}test_test_casts_have_a_bound_of_their_own",
            f"{FLOW}test_sixty_requests_at_once_never_pass_the_months_bound",
        ),
    ),
    fault(
        "priced-spell-given-away",
        "Everybody casts every creator's spell for nothing, with a test key.",
        ("domain/model/modes.py", "    if is_priced:\n", "    if is_priced is None:\n"),
        tests=(
            f"{MODEL}test_a_spell_with_a_price_is_not_given_away_unless_it_is_ones_own",
            f"{HTTP}test_a_batch_of_a_test_key_is_judged_cast_by_cast",
        ),
    ),
    fault(
        "test-key-sees-live-casts",
        "A test key in a repository shows whoever reads it what the account casts.",
        ("api/casts/reader.py", " or (principal.test and row.mode is Mode.LIVE)", ""),
        tests=(
            f"{HTTP}test_a_test_cast_is_seen_apart_from_live_ones",
            "tests/api/test_access.py::test_every_route_answers_everybody_as_the_table_says",
        ),
    ),
    fault(
        "test-key-governs",
        "A test key in a repository lowers budgets and reads what is spent.",
        (
            "api/access.py",
            "        elif principal.test and not self.test_keys:\n",
            "        elif principal.test and not self.keys:\n",
        ),
        tests=("tests/api/test_access.py::test_every_route_answers_everybody_as_the_table_says",),
    ),
    fault(
        "test-key-with-powers",
        "A test key may be given keys:write, and makes a live key of itself.",
        (
            "domain/flow/create_key.py",
            "    check_test_scopes(mode_of(new.prefix), new.terms.scopes)\n",
            "",
        ),
        tests=(f"{HTTP}test_a_test_key_gets_neither_powers_nor_a_budget",),
    ),
    fault(
        "test-repeats-live",
        "A test under the Idempotency-Key of a live order shows the order, or is refused for it.",
        (
            "domain/model/admission.py",
            "judge_cast, remembered = self._judge_test_cast, self._remembered_tests",
            "judge_cast = self._judge_test_cast",
        ),
        tests=(
            f"{MODEL}test_one_idempotency_key_is_two_one_for_each_mode",
            f"{FLOW}test_one_idempotency_key_makes_one_cast_in_each_mode",
        ),
    ),
    fault(
        "tests-told-as-orders",
        "A production endpoint hears of test casts and delivers what nobody bought.",
        ("domain/store/events.sql", " AND w.mode = e.mode", ""),
        tests=(f"{HTTP}test_an_endpoint_hears_of_one_mode",),
    ),
)
