"""Mistakes in logins: what comes back twice or elsewhere, tokens that are believed, links that tell."""

from tests.planted_faults.fault import fault

FLOWS = "tests/domain/flow/test_logins.py::"
MODEL = "tests/domain/model/test_login.py::"
GITHUB = "tests/api/test_login_github.py::"
MAIL = "tests/api/test_login_mail.py::"
TOKENS = "tests/gateways/test_oidc.py::"

FAULTS = (
    fault(
        "login-comes-back-twice",
        "The address of return signs in as often as it is opened.",
        (
            "domain/store/logins.sql",
            "provider = %(provider)s\n  AND used_at IS NULL AND",
            "provider = %(provider)s\n  AND",
        ),
        tests=(
            f"{FLOWS}test_of_many_at_once_one_takes_a_login_up",
            f"{GITHUB}test_what_came_back_once_never_works_again",
        ),
    ),
    fault(
        "login-ends-in-another-browser",
        "An attacker sends somebody his own address of return, and the victim works in the attacker's account.",
        (
            "domain/store/logins.sql",
            "WHERE state_hash = %(state_hash)s AND browser_hash = %(browser_hash)s",
            "WHERE state_hash = %(state_hash)s AND length(%(browser_hash)s) > 0",
        ),
        tests=(f"{FLOWS}test_a_login_is_taken_up_once_in_time_where_it_began",),
    ),
    fault(
        "link-opens-in-another-browser",
        "Whoever reads the mail signs in with it.",
        (
            "domain/store/logins.sql",
            "WHERE token_hash = %(token_hash)s AND browser_hash = %(browser_hash)s AND used_at",
            "WHERE token_hash = %(token_hash)s AND length(%(browser_hash)s) > 0 AND used_at",
        ),
        tests=(f"{MAIL}test_another_browser_is_told_why_and_gets_nothing",),
    ),
    fault(
        "link-stands-in-its-row",
        "The seed in a row is the token of the link, so that a copy of the database signs in.",
        (
            "domain/model/login.py",
            'return _text(hmac.digest(signing_key, _LINK + seed, "sha256"))',
            "return _text(seed)",
        ),
        tests=(f"{MODEL}test_a_link_is_made_of_seed_and_key_and_of_neither_alone",),
    ),
    fault(
        "mail-without-end",
        "Whoever asks fills somebody's mailbox.",
        ("domain/flow/magic_link.py", ">= LINKS_PER_ADDRESS_MAX:", "< 0:"),
        tests=(f"{FLOWS}test_an_address_gets_three_links_in_a_quarter_of_an_hour",),
    ),
    fault(
        "links-counted-side-by-side",
        "Requests at the same moment do not see each other, and each mails its three.",
        ("domain/flow/magic_link.py", '    await logins.turn_take(conn, name=f"link {email}")\n', ""),
        tests=(f"{FLOWS}test_an_address_gets_three_links_in_a_quarter_of_an_hour",),
    ),
    fault(
        "address-believed",
        "Whoever names somebody's address at an issuer that does not check it gets into his account.",
        (
            "domain/flow/sign_in.py",
            "if identity.email is not None and identity.email_verified:",
            "if identity.email is not None:",
        ),
        tests=(f"{FLOWS}test_an_address_links_only_when_both_sides_verified_it",),
    ),
    fault(
        "address-never-proved",
        "A user who only wrote an address down gives his account to the one who proves it.",
        ("domain/store/logins.sql", " AND u.email_verified_at IS NOT NULL AND u.erased_at", " AND u.erased_at"),
        tests=(f"{FLOWS}test_an_address_links_only_when_both_sides_verified_it",),
    ),
    fault(
        "token-of-another-login",
        "An ID token that was made for another login or another browser is taken.",
        (
            "gateways/oidc.py",
            "hmac.compare_digest(said.encode(), nonce.encode())",
            "hmac.compare_digest(said.encode(), said.encode())",
        ),
        tests=(f"{TOKENS}test_a_token_that_does_not_fit_is_refused",),
    ),
    fault(
        "token-signed-by-us",
        "An ID token signed with the client's secret, which others know too, is taken.",
        ("gateways/oidc.py", '    *("RS256",', '    *("HS256", "RS256",'),
        ("gateways/oidc.py", 'frozenset({"RSA", "EC", "OKP"})', 'frozenset({"RSA", "EC", "OKP", "oct"})'),
        tests=(f"{TOKENS}test_nobody_signs_with_nothing_or_with_what_others_know",),
    ),
    fault(
        "keys-for-ever",
        "An issuer that changes its keys locks everybody out until the api is started again.",
        ("gateways/oidc.py", "await self._discover(client, anew=True)", "await self._discover(client)"),
        tests=(f"{TOKENS}test_keys_are_kept_and_asked_for_once_when_one_is_new",),
    ),
    fault(
        "login-leads-anywhere",
        "A login ends at whatever address its link named.",
        (
            "api/login/finish.py",
            'return safe_return_path(value_of(request, "return_to"), default=ACCOUNT_PAGE)',
            'return value_of(request, "return_to") or ACCOUNT_PAGE',
        ),
        tests=(f"{GITHUB}test_a_login_leads_to_paths_of_ours_alone",),
    ),
)
