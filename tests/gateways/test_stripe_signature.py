"""Who may say that Stripe said it: signatures of webhooks, made by Stripe's own library."""

from datetime import UTC, datetime, timedelta

import pytest
from stripe import WebhookSignature

from gateways.stripe.signature import BadSignature, verify

SECRET, CONNECT = "whsec_one", "whsec_connect"
BODY = '{"id": "evt_1", "name": "Zoë"}'
NOW = datetime(2026, 11, 29, 10, 0, 0, 500_000, tzinfo=UTC)
SECONDS = int(NOW.timestamp())


def signed(body: str = BODY, secret: str = SECRET, at: int = SECONDS) -> str:
    return WebhookSignature.generate_signature_header(body, secret, timestamp=at)


def reason(header: str | None, *, body: bytes = BODY.encode(), now: datetime = NOW) -> str | None:
    try:
        verify(body, header, secrets=(SECRET, CONNECT), now=now)
    except BadSignature as bad:
        return bad.reason
    return None


def test_what_stripes_library_signs_is_taken() -> None:
    assert reason(signed()) is None
    assert reason(signed(secret=CONNECT)) is None
    assert reason(signed(secret="whsec_other")) == "mismatch"


def test_one_of_several_signatures_suffices() -> None:
    other = signed(secret="whsec_two").partition(",")[2]
    mine = signed().partition(",")[2]
    for rest in (f"{other},{mine}", f"{mine},{other}", f"v0=abc,{other},{mine}"):
        assert reason(f"t={SECONDS},{rest}") is None


@pytest.mark.parametrize("seconds", [-300, 300, 0])
def test_within_the_tolerance(seconds: int) -> None:
    assert reason(signed(at=SECONDS), now=datetime.fromtimestamp(SECONDS + seconds, tz=UTC)) is None


@pytest.mark.parametrize("seconds", [-301, 301, 86_400])
def test_old_or_of_the_future(seconds: int) -> None:
    assert reason(signed(), now=NOW + timedelta(seconds=seconds)) == "old"


@pytest.mark.parametrize(
    "body", [BODY.encode() + b" ", BODY.encode()[:-1], BODY.replace("evt_1", "evt_2").encode(), b"", b"\xff"]
)
def test_every_byte_counts(body: bytes) -> None:
    assert reason(signed(), body=body) == "mismatch"


def test_bytes_that_are_no_text_can_be_signed_and_are_no_error() -> None:
    assert reason(f"t={SECONDS},v1=00", body=b"\xff\xfe") == "mismatch"


def test_a_time_that_was_not_signed() -> None:
    assert reason(signed(at=SECONDS - 1).replace(f"t={SECONDS - 1}", f"t={SECONDS}")) == "mismatch"


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (None, "missing"),
        ("", "missing"),
        ("t=1", "malformed"),
        ("v1=abc", "malformed"),
        (f"t={SECONDS},v0=abc", "malformed"),
        ("t=now,v1=abc", "malformed"),
        (f"t={SECONDS},t={SECONDS},v1=abc", "malformed"),
        (f"t=-{SECONDS},v1=abc", "malformed"),
        ("t=9999999999999,v1=abc", "malformed"),
        ("t=²,v1=abc", "malformed"),  # a digit to Python, and to nobody else
        (f"t={SECONDS},v1=é", "mismatch"),
        (f"t={SECONDS},v1=", "mismatch"),
        (",,,=", "malformed"),
        ("t=1," * 1000 + "v1=abc", "malformed"),
    ],
)
def test_what_is_no_signature(header: str | None, said: str) -> None:
    assert reason(header) == said


def test_another_secret() -> None:
    assert reason(signed(secret="whsec_two")) == "mismatch"


def test_of_many_signatures_only_the_first_are_looked_at() -> None:
    mine = signed().partition(",")[2]
    assert reason(f"t={SECONDS}," + "v1=a," * 8 + mine) == "mismatch"
