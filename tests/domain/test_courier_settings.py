from collections.abc import Mapping

import pytest

from domain.settings import CourierSettings, SettingsError, load

COURIER: Mapping[str, str] = {
    "DATABASE_URL": "postgresql://app:hunter2@localhost/spell",
    "WEBHOOK_SIGNING_KEY": bytes(range(32)).hex(),
}


def test_a_courier_needs_two_settings_and_reaches_nothing_private() -> None:
    settings = load(CourierSettings, COURIER)
    assert settings.webhook_signing_key.reveal() == bytes(range(32))
    assert settings.webhook_allow_private == ()
    assert (settings.smtp_url, settings.mail_from) == (None, "Spell Platform <no-reply@localhost>")
    assert (settings.public_url, settings.metrics_port, settings.log_level) == ("http://127.0.0.1:8080", None, "info")


def test_a_courier_is_told_where_mail_goes_and_what_else_may_be_reached() -> None:
    given = {
        "SMTP_URL": "smtps://user:hunter2@mail.example.com",
        "MAIL_FROM": "Spells <mail@example.com>",
        "WEBHOOK_ALLOW_PRIVATE": "10.1.0.0/16, ::1",
    }
    settings = load(CourierSettings, {**COURIER, **given})
    assert settings.smtp_url is not None
    assert settings.smtp_url.reveal() == given["SMTP_URL"]
    assert settings.mail_from == "Spells <mail@example.com>"
    assert settings.webhook_allow_private == ("10.1.0.0/16", "::1/128")
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize("address", ["nobody", "a@b\nBcc: c@d", "a b@c@d", "ä@example.com", "<>", "Spells <>"])
def test_a_sender_that_no_mail_can_have_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="MAIL_FROM: is not an address; write it like"):
        load(CourierSettings, {**COURIER, "MAIL_FROM": address})
