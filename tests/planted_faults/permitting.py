"""Mistakes in who may do what: secrets that were rotated away, keys that get more than they have, pages, exports."""

from tests.planted_faults.fault import fault

ROTATION = "tests/domain/flow/test_key_rotation.py::"
RULES = "tests/domain/model/test_key_rules.py::"
HTTP = "tests/api/test_key_rotation.py::"
ACCESS = "tests/api/test_access.py::"
VISIBILITY = "tests/api/test_spell_visibility.py::"
ORIGINS = "tests/api/test_origins.py::"

FAULTS = (
    fault(
        "rotated-secret-casts",
        "A secret that a rotation ended goes on casting for as long as a process remembers it.",
        (
            "domain/model/admission_state.py",
            "self.alive and (prefix is None or prefix in",
            "self.alive and (True or prefix in",
        ),
        tests=(
            f"{ROTATION}test_without_grace_the_secret_ends_with_the_commit",
            f"{ROTATION}test_no_cast_is_accepted_for_a_secret_after_the_rotation_that_ended_it",
            f"{HTTP}test_no_cast_is_accepted_with_a_secret_that_was_ended",
        ),
    ),
    fault(
        "third-secret-alive",
        "After two rotations three secrets open one key.",
        (
            "domain/store/identity.sql",
            "previous_prefix = CASE WHEN %(previous_until)s::timestamptz IS NOT NULL THEN prefix END",
            "previous_prefix = coalesce(previous_prefix, prefix)",
        ),
        tests=(f"{ROTATION}test_rotating_twice_ends_the_oldest_secret_at_once",),
    ),
    fault(
        "old-secret-rotates",
        "Whoever finds a secret in its grace gets a new one from it.",
        ("domain/flow/create_key.py", "asked_with not in {None, key.prefix}", "asked_with is False"),
        tests=(
            f"{ROTATION}test_who_may_rotate",
            f"{HTTP}test_an_old_secret_makes_nothing_that_outlives_it",
        ),
    ),
    fault(
        "stronger-key-taken",
        "A key with keys:write rotates one that may more, and so gets its secret.",
        (
            "domain/flow/rotate_key.py",
            "    check_taken_by_key(key.terms, asker.terms, taker_has_budget=has_budget)\n",
            "    del has_budget\n",
        ),
        tests=(
            f"{ROTATION}test_who_may_rotate",
            f"{ACCESS}test_a_scope_that_concerns_others_is_given_by_the_operator_alone",
        ),
    ),
    fault(
        "key-widens-itself",
        "A key raises its own rate, its own end or its own number of open casts.",
        ("domain/model/key_rules.py", 'if bound != "scopes" and bound in excess(after, changer):', "if not bound:"),
        tests=(
            f"{RULES}test_a_key_makes_another_more_only_up_to_itself_and_never_itself",
            f"{HTTP}test_a_key_gives_no_more_than_it_has",
        ),
    ),
    fault(
        "operator-scope-for-all",
        "A session makes itself a key that governs the platform.",
        (
            "domain/model/key_rules.py",
            "frozenset(KeyScope) - OPERATOR_SCOPES",
            "frozenset(KeyScope)",
        ),
        tests=(f"{ROTATION}test_changes_happen_once_and_only_to_living_keys_of_the_account",),
    ),
    fault(
        "leaked-beside-made-up",
        "A real key in a leaked file stays alive, because a made-up one of the same prefix stands below it.",
        ("domain/flow/revoke_leaked.py", "by_prefix.setdefault(prefix, set()).add(text)", "by_prefix[prefix] = {text}"),
        tests=(f"{ROTATION}test_leaked_keys_are_revoked_with_all_their_secrets_and_nothing_else_is",),
    ),
    fault(
        "scope-not-asked",
        "A key that may only read casts, too.",
        ("api/casts/routes.py", "            access.check(principal)\n", ""),
        tests=(f"{ACCESS}test_every_route_answers_everybody_as_the_table_says",),
    ),
    fault(
        "any-page-uses-a-bound-key",
        "A key that is in a page's source is used from everybody's pages.",
        ("api/guard.py", "if principal.allowed_origins:", "if not principal.key_id:"),
        tests=(f"{ORIGINS}test_a_bound_key_serves_its_own_pages_and_what_is_no_page",),
    ),
    fault(
        "formula-in-export",
        "A spreadsheet runs what somebody called a key.",
        (
            "api/usage/export.py",
            "return plain_cell(text) if isinstance(text, str)",
            "return text if isinstance(text, str)",
        ),
        tests=("tests/api/test_usage.py::test_a_spreadsheet_takes_no_name_for_a_formula",),
    ),
    fault(
        "yank-untold",
        "Whoever casts a version its creator took back never hears of it.",
        ("api/spells/catalog.py", "yanked=version.yanked_at is not None,", "yanked=False,"),
        tests=(f"{VISIBILITY}test_a_yanked_version_runs_by_its_name_with_a_warning_until_it_is_put_back",),
    ),
)
