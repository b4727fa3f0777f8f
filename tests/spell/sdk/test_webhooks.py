"""Webhooks verified by the SDK: signed by the platform, by Standard Webhooks' own library, and by nobody."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks.webhooks import Webhook

from domain.model.webhooks import derive_secret, event_body, message_id, secret_text, sign
from spell import SignatureInvalid, UnexpectedAnswer, webhooks
from tests.spell.sdk.answers import DONE

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
OWNER = UUID("5b0e9c3e-7d52-4c0d-9a3c-0f6f4f1b6a10")
SECRET = secret_text(derive_secret(b"k" * 32, OWNER, 1))
OTHER = secret_text(derive_secret(b"k" * 32, OWNER, 2))
BODY = json.dumps({"type": "cast.succeeded", "timestamp": "2026-11-20T11:59:59Z", "data": DONE}).encode()


def signed(body: bytes = BODY, secret: str = SECRET, at: datetime = NOW, name: str = "evt_1") -> dict[str, str]:
    """Return the headers that Standard Webhooks' own library makes."""
    return {
        "Webhook-Id": name,
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": Webhook(secret).sign(name, at, body.decode()),
    }


def refused(
    body: bytes = BODY, headers: dict[str, str] | None = None, match: str | None = None, **options: Any
) -> None:
    with pytest.raises(SignatureInvalid, match=match):
        webhooks.verify(
            body, signed() if headers is None else headers, options.pop("secret", SECRET), now=NOW, **options
        )


def test_what_the_standards_library_signs_is_verified_and_typed() -> None:
    event = webhooks.verify(BODY, signed(), SECRET, now=NOW)
    assert (event.id, event.type) == ("evt_1", "cast.succeeded")
    assert event.timestamp == datetime(2026, 11, 20, 11, 59, 59, tzinfo=UTC)
    assert event.data == DONE
    assert event.cast is not None
    assert event.cast.result() == {"n": 1}


def test_what_the_platform_signs_is_verified_by_both() -> None:
    event_id = UUID("019a0000-0000-7000-8000-000000000001")
    now = datetime.now(UTC)
    body = event_body("budget.threshold_reached", created_at=now, data=b'{"percent": 80}')
    headers = {
        "webhook-id": message_id(event_id),
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": sign(
            [derive_secret(b"k" * 32, OWNER, 2), derive_secret(b"k" * 32, OWNER, 1)],
            message_id=message_id(event_id),
            timestamp_s=int(now.timestamp()),
            body=body,
        ),
    }
    for secret in (SECRET, OTHER):
        event = webhooks.verify(body, headers, secret)
        assert (event.type, event.data, event.cast) == ("budget.threshold_reached", {"percent": 80}, None)
        assert Webhook(secret).verify(body, headers) is not None


def test_one_of_several_secrets_or_signatures_is_enough() -> None:
    assert webhooks.verify(BODY, signed(), [OTHER, SECRET], now=NOW).id == "evt_1"
    headers = signed()
    headers["Webhook-Signature"] = (
        f"v1a,ed25519 v1,not-base64! {signed(secret=OTHER)['Webhook-Signature']} " + headers["Webhook-Signature"]
    )
    assert webhooks.verify(BODY, headers, SECRET, now=NOW).id == "evt_1"


def test_what_was_changed_on_the_way_is_refused() -> None:
    refused(BODY + b" ", match="is the body unchanged")
    refused(headers={**signed(), "Webhook-Id": "evt_2"})
    refused(headers={**signed(), "Webhook-Timestamp": str(int(NOW.timestamp()) + 1)})
    refused(headers={**signed(), "Webhook-Signature": "v1," + base64.b64encode(bytes(32)).decode()})
    refused(headers={**signed(), "Webhook-Signature": signed()["Webhook-Signature"].replace("v1,", "v2,")})
    refused(secret=OTHER)


def test_what_was_recorded_is_refused_after_the_tolerance() -> None:
    for age in (timedelta(seconds=300), timedelta(seconds=-300)):
        assert webhooks.verify(BODY, signed(at=NOW - age), SECRET, now=NOW).id == "evt_1"
    for age in (timedelta(seconds=301), timedelta(seconds=-301)):
        refused(headers=signed(at=NOW - age), match="300 s")
    refused(headers=signed(at=NOW - timedelta(seconds=11)), tolerance_s=10)


@pytest.mark.parametrize("name", ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"])
def test_a_header_that_is_missing_or_empty_is_named(name: str) -> None:
    headers = signed()
    del headers[name]
    refused(headers=headers, match=name.lower())
    refused(headers={**signed(), name: ""}, match=name.lower())


@pytest.mark.parametrize("timestamp", ["soon", "-1", "1e9", "٣", "9" * 5000, " 1", "1.5"])
def test_a_time_that_is_none_is_refused(timestamp: str) -> None:
    refused(headers={**signed(), "Webhook-Timestamp": timestamp}, match="no number of seconds")


def test_a_secret_that_is_none_is_the_callers_mistake() -> None:
    for secret in ("whsec_!!", "", "whsec_", [], [SECRET, ""]):
        with pytest.raises(ValueError, match="whsec_"):
            webhooks.verify(BODY, signed(), secret, now=NOW)


def test_a_signed_body_this_version_cannot_read_is_no_forgery() -> None:
    body = b'{"type": 1}'
    with pytest.raises(UnexpectedAnswer):
        webhooks.verify(body, signed(body), SECRET, now=NOW)
