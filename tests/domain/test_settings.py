import base64
from collections.abc import Mapping

import pytest

from domain.model.messages import Pool
from domain.price_settings import PriceSettings
from domain.settings import (
    ApiSettings,
    CourierSettings,
    LedgerSettings,
    ReleaseSettings,
    SchedulerSettings,
    Secret,
    SettingsError,
    WorkerSettings,
    load,
)

ARTIFACT_KEY = bytes(range(32))
TOKEN_KEY = bytes(range(32, 64))
RECEIPT_KEY = bytes(range(64, 96))
WEBHOOK_KEY = bytes(range(96, 128))
TOKEN = "0123456789abcdef0123456789abcdef"

API = {
    "DATABASE_URL": "postgresql://app:hunter2@localhost/spell",
    "REDIS_URL": "redis://localhost:6379",
    "CAST_TOKEN_KEY": TOKEN_KEY.hex(),
    "WEBHOOK_SIGNING_KEY": WEBHOOK_KEY.hex(),
    "ARTIFACT_SIGNING_KEY": ARTIFACT_KEY.hex(),
    "WORKER_TOKEN": TOKEN,
}
WORKER = {
    "REDIS_URL": "redis://worker:hunter2@127.0.0.1",
    "ARTIFACT_VERIFY_KEY": ARTIFACT_KEY.hex(),
    "WORKER_TOKEN": TOKEN,
}


def problems_of(kind: type, environ: Mapping[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(kind, environ)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def names_of(problems: tuple[str, ...]) -> list[str]:
    return [line.partition(":")[0] for line in problems]


def test_retired_receipt_keys_are_public_keys_with_commas_between() -> None:
    one, two = bytes(range(32)), bytes(range(1, 33))
    settings = load(ApiSettings, API | {"RECEIPT_RETIRED_KEYS": f"{one.hex()}, {two.hex()}"})
    assert settings.receipt_retired_keys == (one, two)
    (problem,) = problems_of(ApiSettings, API | {"RECEIPT_RETIRED_KEYS": f"{one.hex()},abcd"})
    assert problem.startswith("RECEIPT_RETIRED_KEYS:")


def test_an_api_needs_five_settings_and_has_a_reason_for_every_default() -> None:
    settings = load(ApiSettings, API)
    assert (settings.port, settings.public_url) == (8080, "http://127.0.0.1:8080")
    assert settings.engine_database_url == settings.database_url
    assert settings.cast_token_key.reveal() == TOKEN_KEY
    assert (settings.rate_limit_rpm, settings.rate_limit_anon_rpm, settings.free_tier_runs_limit) == (60, 10, 100)
    assert (settings.billing_plan_default, settings.wasm_module_path) == ("free", "./modules")
    assert [settings.stripe, settings.github, settings.oidc, settings.admin_secret, settings.smtp_url] == [None] * 5
    assert [line.partition(" ")[0] for line in settings.warnings] == [
        "STRIPE_SECRET_KEY",
        "ADMIN_SECRET",
        "RECEIPT_SIGNING_KEY",
    ]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (ReleaseSettings, {"DATABASE_URL", "ARTIFACT_SIGNING_KEY"}),
        (ApiSettings, set(API)),
        (WorkerSettings, set(WORKER)),
        (LedgerSettings, {"DATABASE_URL", "REDIS_URL", "CAST_TOKEN_KEY"}),
        (CourierSettings, {"DATABASE_URL", "WEBHOOK_SIGNING_KEY"}),
        (SchedulerSettings, {"DATABASE_URL", "REDIS_URL", "CAST_TOKEN_KEY"}),
    ],
)
def test_an_empty_environment_names_all_that_is_missing_once_each(kind: type, names: set[str]) -> None:
    for empty in ({}, dict.fromkeys(names, "")):
        problems = problems_of(kind, empty)
        assert sorted(names_of(problems)) == sorted(names)
        assert all("missing; set it" in line for line in problems)


def test_all_problems_come_at_once_and_none_shows_a_secret() -> None:
    wrong = API | {
        "DATABASE_URL": "postgresql://app:hunter2@db.example.com/spell",
        "REDIS_URL": "redis://:hunter2@cache.example.com",
        "PORT": "http",
        "ADMIN_SECRET": "hunter2",
        "CAST_TOKEN_KEY": "hunter2",
        "RATE_LIMIT_RPM": "0",
        "LOG_LEVEL": "loud",
    }
    problems = problems_of(ApiSettings, wrong)
    assert sorted(names_of(problems)) == sorted(
        set(wrong) - {"ARTIFACT_SIGNING_KEY", "WORKER_TOKEN", "WEBHOOK_SIGNING_KEY"}
    )
    assert "hunter2" not in "\n".join(problems)


def test_a_secret_is_not_in_the_repr_of_settings() -> None:
    settings = load(
        ApiSettings, API | {"ADMIN_SECRET": TOKEN, "STRIPE_API_KEY": "sk_x", "STRIPE_WEBHOOK_SECRET": "wh_x"}
    )
    shown = f"{settings!r} {settings} {settings.cast_token_key}"
    assert all(secret not in shown for secret in ("hunter2", TOKEN, "sk_x", "wh_x", repr(TOKEN_KEY), TOKEN_KEY.hex()))
    assert Secret("a") == Secret("a") != Secret("b")


@pytest.mark.parametrize(
    "name",
    [
        "DATABASE_URL",
        "ENGINE_DATABASE_URL",
        "MIGRATIONS_DATABASE_URL",
        "STRIPE_SECRET_KEY",
        "STRIPE_ANYTHING_NEW",
        "ADMIN_SECRET",
        "ARTIFACT_SIGNING_KEY",
        "RECEIPT_SIGNING_KEY",
        "CAST_TOKEN_KEY",
        "GITHUB_CLIENT_SECRET",
        "OIDC_CLIENT_SECRET",
        "SMTP_URL",
        "WEBHOOK_SIGNING_KEY",
    ],
)
def test_a_worker_refuses_to_start_beside_a_credential_that_is_not_its_own(name: str) -> None:
    (problem,) = problems_of(WorkerSettings, WORKER | {name: "hunter2"})
    assert problem.startswith(f"{name}: must not be in a worker's environment")
    assert "hunter2" not in problem
    load(WorkerSettings, WORKER | {name: ""})


def test_a_worker_fetches_artifacts_from_the_api_of_its_machine_unless_told() -> None:
    settings = load(WorkerSettings, WORKER | {"PORT": "9000"})
    assert settings.artifact_url == "http://127.0.0.1:9000"
    assert (settings.pool, settings.worker_threads, settings.metrics_port) == (Pool.DEFAULT, 2, None)
    told = WORKER | {"ARTIFACT_URL": "http://api.internal:8080/", "POOL": "large", "WORKER_THREADS": "8"}
    settings = load(WorkerSettings, told)
    assert (settings.artifact_url, settings.pool, settings.worker_threads) == ("http://api.internal:8080", "large", 8)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost/spell",
        "postgres://app:pw@127.0.0.1:5433/spell?sslmode=disable",
        "postgresql://[::1]/spell",
        "postgresql://%2Fvar%2Frun%2Fpostgresql/spell",
        "postgresql:///spell?host=/var/run/postgresql",
        "postgresql://app:p%40w@db.example.com/spell?sslmode=verify-full",
        "postgresql://a.example.com,b.example.com:5433/spell?sslmode=verify-full&target_session_attrs=read-write",
    ],
)
def test_a_database_on_this_machine_or_with_a_checked_certificate_is_accepted(url: str) -> None:
    assert load(LedgerSettings, API | {"DATABASE_URL": url}).engine_database_url.reveal() == url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db.example.com/spell",
        "postgresql://db.example.com/spell?sslmode=require",
        "postgresql://db.example.com/spell?sslmode=verify-full&sslmode=disable",
        "postgresql://localhost.example.com/spell",
        "postgresql://localhost,db.example.com/spell",
        "postgresql://localhost/spell?host=db.example.com",
        "postgresql://localhost/spell?hostaddr=192.0.2.1",
        "postgresql://localhost@db.example.com/spell",
        "postgresql:///spell",
        "mysql://localhost/spell",
        "host=localhost dbname=spell",
    ],
)
def test_a_database_elsewhere_without_a_checked_certificate_is_refused(url: str) -> None:
    assert names_of(problems_of(LedgerSettings, API | {"DATABASE_URL": url})) == ["DATABASE_URL"]


@pytest.mark.parametrize(
    "url", ["redis://localhost", "redis://[::1]:6379/1", "unix:///run/redis.sock", "rediss://r.example.com"]
)
def test_a_redis_on_this_machine_or_with_tls_is_accepted(url: str) -> None:
    assert load(LedgerSettings, API | {"REDIS_URL": url}).redis_url.reveal() == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://r.example.com",
        "redis://localhost@r.example.com",
        "rediss://r.example.com?ssl_cert_reqs=none",
        "rediss://r.example.com?ssl_check_hostname=False",
        "http://localhost",
    ],
)
def test_a_redis_elsewhere_without_checked_tls_is_refused(url: str) -> None:
    assert names_of(problems_of(LedgerSettings, API | {"REDIS_URL": url})) == ["REDIS_URL"]


@pytest.mark.parametrize(
    "text",
    [
        TOKEN_KEY.hex(),
        TOKEN_KEY.hex().upper(),
        base64.b64encode(TOKEN_KEY).decode(),
        base64.urlsafe_b64encode(TOKEN_KEY).decode().rstrip("="),
    ],
)
def test_a_key_is_read_from_hex_and_both_alphabets_of_base64(text: str) -> None:
    assert load(LedgerSettings, API | {"CAST_TOKEN_KEY": text}).cast_token_key.reveal() == TOKEN_KEY


@pytest.mark.parametrize(
    "text", [TOKEN_KEY[:31].hex(), TOKEN_KEY.hex()[:-1], "00" * 32, "not a key, not a key, not a key, not", "é" * 64]
)
def test_a_short_odd_or_constant_key_is_refused(text: str) -> None:
    assert names_of(problems_of(LedgerSettings, API | {"CAST_TOKEN_KEY": text})) == ["CAST_TOKEN_KEY"]


def test_a_signing_key_has_exactly_32_bytes_while_the_token_key_may_be_longer() -> None:
    long = (TOKEN_KEY + RECEIPT_KEY).hex()
    assert len(load(LedgerSettings, API | {"CAST_TOKEN_KEY": long}).cast_token_key.reveal()) == 64
    (problem,) = problems_of(ApiSettings, API | {"ARTIFACT_SIGNING_KEY": long})
    assert problem.startswith("ARTIFACT_SIGNING_KEY: decodes to 64 bytes, not 32")


def test_one_key_for_two_uses_is_refused() -> None:
    (problem,) = problems_of(ApiSettings, API | {"RECEIPT_SIGNING_KEY": API["ARTIFACT_SIGNING_KEY"]})
    assert problem.startswith("RECEIPT_SIGNING_KEY: is the same key as ARTIFACT_SIGNING_KEY")
    same_bytes = base64.b64encode(ARTIFACT_KEY).decode()
    assert names_of(problems_of(ApiSettings, API | {"CAST_TOKEN_KEY": same_bytes})) == ["CAST_TOKEN_KEY"]


@pytest.mark.parametrize("text", ["secret", "0123456789abcdef0123456789abcde", "a" * 64, "changeit" * 2])
def test_an_admin_secret_that_can_be_guessed_is_refused(text: str) -> None:
    assert names_of(problems_of(ApiSettings, API | {"ADMIN_SECRET": text})) == ["ADMIN_SECRET"]


@pytest.mark.parametrize("text", [TOKEN, "Zm9vYmFyIGJheiBxdXV4IQ"])
def test_an_admin_secret_of_128_bits_is_accepted(text: str) -> None:
    settings = load(ApiSettings, API | {"ADMIN_SECRET": text})
    assert settings.admin_secret == Secret(text)


def test_stripe_needs_both_secrets_and_never_a_publishable_key() -> None:
    both = {"STRIPE_SECRET_KEY": "sk_live_1", "STRIPE_WEBHOOK_SECRET": "whsec_1", "STRIPE_PRICE_PRO": "price_1"}
    stripe = load(ApiSettings, API | both).stripe
    assert stripe is not None
    assert (stripe.secret_key.reveal(), stripe.price_pro, stripe.api_base) == (
        "sk_live_1",
        "price_1",
        "https://api.stripe.com",
    )
    assert load(ApiSettings, API | {"STRIPE_SECRET_KEY": "sk_live_1"}).stripe is None
    assert names_of(problems_of(ApiSettings, API | both | {"STRIPE_SECRET_KEY": "pk_live_1"})) == ["STRIPE_SECRET_KEY"]
    elsewhere = {"STRIPE_API_BASE": "http://stripe.example.com"}
    assert names_of(problems_of(ApiSettings, API | both | elsewhere)) == ["STRIPE_API_BASE"]
    load(SchedulerSettings, API | both | {"STRIPE_API_BASE": "http://127.0.0.1:12111"})


def test_a_login_is_set_whole_or_not_at_all() -> None:
    github = load(ApiSettings, API | {"GITHUB_CLIENT_ID": "id", "GITHUB_CLIENT_SECRET": "s", "PORT": "81"}).github
    assert github is not None
    assert (github.redirect_uri, github.base_url) == ("http://127.0.0.1:81/auth/callback", "https://github.com")
    assert names_of(problems_of(ApiSettings, API | {"GITHUB_CLIENT_ID": "id"})) == ["GITHUB_CLIENT_SECRET"]
    partly = {"OIDC_ISSUER": "https://id.example.com", "OIDC_CLIENT_ID": "id"}
    assert names_of(problems_of(ApiSettings, API | partly)) == ["OIDC_CLIENT_SECRET"]
    oidc = load(ApiSettings, API | partly | {"OIDC_CLIENT_SECRET": "s"}).oidc
    assert oidc is not None
    assert oidc.issuer == "https://id.example.com"


@pytest.mark.parametrize(
    ("environ", "per_cast", "per_gfuel"),
    [
        ({}, 1_000, 1_500),
        ({"COST_PER_CAST_CENTS": "2"}, 20_000, 1_500),
        ({"COST_PER_CAST_CENTS": "0", "PRICE_PER_RUN_MICROS": "7"}, 0, 1_500),
        ({"PRICE_PER_RUN_MICROS": "7", "STRIPE_PRICE_PER_RUN": "0.5"}, 7, 1_500),
        ({"STRIPE_PRICE_PER_RUN": "0.001", "STRIPE_PRICE_PER_CPU_MS": "0.00001"}, 1_000, 1_515),
        ({"STRIPE_PRICE_PER_CPU_MS": "1e-5", "PRICE_PER_GFUEL_MICROS": "3"}, 1_000, 3),
        ({"STRIPE_PRICE_PER_RUN": "0.000001"}, 1, 1_500),
    ],
)
def test_prices_are_exact_integers_whatever_name_they_come_under(
    environ: dict[str, str], per_cast: int, per_gfuel: int
) -> None:
    expected = PriceSettings(per_cast_micros=per_cast, per_gfuel_micros=per_gfuel)
    assert load(ReleaseSettings, API | environ).prices == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("COST_PER_CAST_CENTS", "1.5"),
        ("COST_PER_CAST_CENTS", "-1"),
        ("PRICE_PER_RUN_MICROS", "9" * 16),
        ("PRICE_PER_RUN_MICROS", "٣"),
        ("STRIPE_PRICE_PER_RUN", "0.0000001"),
        ("STRIPE_PRICE_PER_RUN", "NaN"),
        ("STRIPE_PRICE_PER_CPU_MS", "free"),
        ("STRIPE_PRICE_PER_CPU_MS", "-0.1"),
    ],
)
def test_a_price_that_is_no_exact_amount_is_refused(name: str, text: str) -> None:
    assert names_of(problems_of(ReleaseSettings, API | {name: text})) == [name]


def test_release_prefers_the_owners_url() -> None:
    assert load(ReleaseSettings, API).migrations_database_url == Secret(API["DATABASE_URL"])
    owner = "postgresql://owner:pw@localhost/spell"
    settings = load(ReleaseSettings, API | {"MIGRATIONS_DATABASE_URL": owner})
    assert settings.migrations_database_url == Secret(owner)


def test_lists_are_split_and_each_part_is_checked() -> None:
    lists = {"TRUSTED_PROXIES": "10.0.0.0/8, ::1", "CORS_ORIGINS": "https://a.example.com, http://localhost:3000/"}
    settings = load(ApiSettings, API | lists)
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1/128")
    assert settings.cors_origins == ("https://a.example.com", "http://localhost:3000")
    wrong = {"TRUSTED_PROXIES": "10.0.0.1/8", "CORS_ORIGINS": "https://a.example.com/path"}
    assert sorted(names_of(problems_of(ApiSettings, API | wrong))) == ["CORS_ORIGINS", "TRUSTED_PROXIES"]
    assert names_of(problems_of(ApiSettings, API | {"CORS_ORIGINS": "*"})) == ["CORS_ORIGINS"]


def test_the_jail_is_required_where_the_operator_says_so_and_can_never_be_switched_off() -> None:
    assert load(WorkerSettings, WORKER).jail == "auto"
    assert load(WorkerSettings, WORKER | {"SPELL_JAIL": "required"}).jail == "required"
    assert names_of(problems_of(WorkerSettings, WORKER | {"SPELL_JAIL": "off"})) == ["SPELL_JAIL"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SMTP_URL", "http://mail.example.com"),
        ("PUBLIC_URL", "https://host/?query=1"),
        ("PUBLIC_URL", "https://user@host"),
        ("PUBLIC_URL", "spell.example.com"),
        ("DATABASE_URL", "postgresql://[::1/spell"),
        ("ENGINE_DATABASE_URL", "postgresql://db.example.com/spell"),
        ("BILLING_PLAN_DEFAULT", "gold"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(name: str, text: str) -> None:
    assert names_of(problems_of(ApiSettings, API | {name: text})) == [name]


def test_each_role_may_have_its_own_address() -> None:
    mail = {"SMTP_URL": "smtps://user:pw@mail.example.com:465"}
    settings = load(ApiSettings, API | mail | {"ENGINE_DATABASE_URL": "postgresql://engine:pw@localhost/spell"})
    assert settings.engine_database_url == Secret("postgresql://engine:pw@localhost/spell") != settings.database_url
    assert settings.smtp_url == Secret(mail["SMTP_URL"])
