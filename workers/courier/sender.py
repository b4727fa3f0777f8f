"""One delivery: signed and sent, or not sent and why."""

import logging
import time
from datetime import UTC, datetime
from random import Random
from typing import Final

import msgspec

from domain.flow.deliver import Outcome
from domain.model.delivery import ATTEMPTS_MAX, JITTER_PERMILLE_MAX, Answer, Delivery, Kind
from domain.model.events import Letter
from domain.model.login import LINK_EVENT, LinkPayload, link_letter
from domain.model.webhooks import ACCOUNT_SECRET_VERSION, derive_secret, message_id, sign
from gateways.smtp import Mailer
from gateways.webhook_http import USER_AGENT, WebhookClient

log: Final = logging.getLogger("spell.courier")

_NO_MAIL: Final = Answer(error="mail is not sent: the platform has no SMTP_URL", hopeless=True)
_NO_LETTER: Final = Answer(error="the row holds no mail", hopeless=True)
# Each of its couriers died while it had it. One more is not worth the others it carries.
_LETHAL: Final = Answer(error="no courier that took it lived to tell what came of it", hopeless=True)
_BROKEN: Final = Answer(error="the platform failed to send it")


class Sender:
    """Sends webhooks and mail; whatever goes wrong is an outcome."""

    def __init__(
        self,
        webhooks: WebhookClient,
        mailer: Mailer | None,
        *,
        signing_key: bytes,
        public_url: str,
        random: Random | None = None,
    ) -> None:
        """Without a `mailer` mail is not sent, and its rows say so. `random` spreads retries.

        `public_url` is what the links in mails lead to.
        """
        self._webhooks: Final = webhooks
        self._mailer: Final = mailer
        self._signing_key: Final = signing_key
        self._public_url: Final = public_url
        self._random: Final = random or Random()  # noqa: S311  # it spreads load and guards nothing

    async def send(self, delivery: Delivery) -> Outcome:
        """Return what came of it. Never raises."""
        started_at, started = datetime.now(UTC), time.monotonic()
        headers = self._headers(delivery, timestamp_s=int(started_at.timestamp()))
        answer = await self._answer(delivery, headers)
        shown = {name: value for name, value in headers.items() if name != "webhook-signature"}
        return Outcome(
            delivery=delivery,
            answer=answer,
            jitter_permille=self._random.randint(-JITTER_PERMILLE_MAX, JITTER_PERMILLE_MAX),
            started_at=started_at,
            duration_ms=round((time.monotonic() - started) * 1000),
            request_headers=msgspec.json.encode(shown).decode(),
        )

    async def _answer(self, delivery: Delivery, headers: dict[str, str]) -> Answer | None:
        body = delivery.body
        if body is None or (delivery.endpoint is not None and not delivery.endpoint.usable):
            return None
        if delivery.tries > ATTEMPTS_MAX:
            return _LETHAL
        try:
            if delivery.kind is Kind.MAIL:
                return await self._mail(delivery, body)
            return await self._webhooks.post(delivery.target, headers=headers, body=body)
        except Exception:  # a fault of ours in one delivery must not end those of everybody else
            log.exception("a delivery failed here", extra={"outgoing_id": delivery.id})
            return _BROKEN

    async def _mail(self, delivery: Delivery, body: bytes) -> Answer:
        if self._mailer is None:
            log.warning(
                "mail not sent: SMTP_URL is not set", extra={"outgoing_id": delivery.id, "type": delivery.event_type}
            )
            return _NO_MAIL
        try:
            letter = self._letter(delivery, body)
        except (msgspec.DecodeError, ValueError):
            return _NO_LETTER
        return await self._mailer.send(delivery.target, letter, event_id=delivery.event_id)

    def _letter(self, delivery: Delivery, body: bytes) -> Letter:
        """Return the mail of a row; the secret in a link stands in no row, it is derived here."""
        if delivery.event_type != LINK_EVENT:
            return msgspec.json.decode(body, type=Letter)
        payload = msgspec.json.decode(body, type=LinkPayload)
        return link_letter(payload, self._signing_key, public_url=self._public_url)

    def _headers(self, delivery: Delivery, *, timestamp_s: int) -> dict[str, str]:
        if delivery.kind is Kind.MAIL:
            return {}
        name = message_id(delivery.event_id)
        return {
            "user-agent": USER_AGENT,
            "content-type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": sign(
                self._secrets(delivery), message_id=name, timestamp_s=timestamp_s, body=delivery.body or b""
            ),
        }

    def _secrets(self, delivery: Delivery) -> list[bytes]:
        """Return the secret of the endpoint, during a rotation the one before as well; else that of the account."""
        endpoint = delivery.endpoint
        if endpoint is None:
            return [derive_secret(self._signing_key, delivery.account_id, ACCOUNT_SECRET_VERSION)]
        versions = [endpoint.secret_version]
        if endpoint.previous_secret_signs:
            versions.append(endpoint.secret_version - 1)
        return [derive_secret(self._signing_key, endpoint.id, version) for version in versions]
