"""The courier process. `python -m workers.courier`; any number may run."""

import asyncio
import logging
import sys
from typing import Final

from domain.model.webhook_url import parse_networks
from domain.settings import CourierSettings
from domain.store.connection import Role, open_pool
from gateways import process
from gateways.collector import collect_rarely
from gateways.names import Names
from gateways.smtp import Mailer
from gateways.webhook_http import WebhookClient
from workers.courier.loop import Courier
from workers.courier.sender import Sender

log: Final = logging.getLogger("spell.courier")

# One claims, one records, one measures.
CONNECTIONS_MAX: Final = 3


async def serve(settings: CourierSettings, stop: asyncio.Event) -> None:
    """Run until `stop` is set; what is in flight then is finished."""
    if settings.smtp_url is None:
        log.warning("SMTP_URL is not set: mail is not sent, and its rows end as failed")
    url = settings.engine_database_url.reveal()
    async with Names() as names, open_pool(url, role=Role.ENGINE, size_max=CONNECTIONS_MAX) as pool:
        webhooks = WebhookClient(names.resolve, private_allowed=parse_networks(settings.webhook_allow_private))
        mailer = None
        if settings.smtp_url is not None:
            mailer = Mailer(settings.smtp_url.reveal(), mail_from=settings.mail_from)
        signing_key = settings.webhook_signing_key.reveal()
        sender = Sender(webhooks, mailer, signing_key=signing_key, public_url=settings.public_url)
        courier = Courier(pool, sender, casts_url=f"{settings.public_url}/v1/casts")
        collect_rarely()
        log.info("courier runs")
        await courier.run(stop)
    log.info("courier stopped")


def main() -> int:
    """Run the courier process until SIGTERM or SIGINT; return its exit code."""
    return process.run(CourierSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
