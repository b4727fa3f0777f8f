"""How to reach the services of others, each of them optional."""

from datetime import timedelta
from typing import Final, Self

import msgspec

from domain.environment import Invalid, Reader, Secret, plain_secret, safe_web_url, web_url
from domain.model.plans import PlanPrices

# Stripe tries a failed payment again for one to three weeks; a week is enough to notice a mail and change a card.
GRACE_DAYS_DEFAULT: Final = 7
GRACE_DAYS_MAX: Final = 90


class StripeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach Stripe. Without it billing is off, and everything else works."""

    secret_key: Secret[str]
    webhook_secret: Secret[str]
    price_pro: str | None
    """Stripe's id of the price of plan pro; None: nobody subscribes to it."""
    api_base: str
    connect_webhook_secret: Secret[str] | None = None
    """What Stripe signs news of creators' accounts with; None: nothing of them is believed but by the one above."""
    price_enterprise: str | None = None
    """The same of plan enterprise."""
    grace_days: int = GRACE_DAYS_DEFAULT
    """How long metered casts go on although a payment failed."""

    @property
    def grace(self) -> timedelta:
        """The same as a duration."""
        return timedelta(days=self.grace_days)

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """What an event may be signed with."""
        secrets = (self.webhook_secret, self.connect_webhook_secret)
        return tuple(secret.reveal() for secret in secrets if secret is not None)

    @property
    def prices(self) -> PlanPrices:
        """What is subscribed to, by plan."""
        return PlanPrices(pro=self.price_pro, enterprise=self.price_enterprise)

    @classmethod
    def read(cls, reader: Reader) -> Self | None:
        """Return None when a secret is missing: a platform that cannot hear Stripe must not charge through it."""
        api_base = reader.optional("STRIPE_API_BASE", safe_web_url, "https://api.stripe.com")
        grace_days = reader.whole("BILLING_GRACE_DAYS", GRACE_DAYS_DEFAULT, least=0, most=GRACE_DAYS_MAX)
        name = "STRIPE_SECRET_KEY" if reader.text("STRIPE_SECRET_KEY") else "STRIPE_API_KEY"
        secret_key = reader.optional(name, _stripe_key, None)
        webhook_secret = reader.optional("STRIPE_WEBHOOK_SECRET", plain_secret, None)
        connect_webhook_secret = reader.optional("STRIPE_CONNECT_WEBHOOK_SECRET", plain_secret, None)
        if secret_key is None or webhook_secret is None:
            return None
        return cls(
            secret_key=secret_key,
            webhook_secret=webhook_secret,
            connect_webhook_secret=connect_webhook_secret,
            price_pro=reader.text("STRIPE_PRICE_PRO"),
            price_enterprise=reader.text("STRIPE_PRICE_ENTERPRISE"),
            grace_days=grace_days,
            api_base=api_base,
        )


class GithubSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Sign in with GitHub."""

    base_url: str
    client_id: str
    client_secret: Secret[str]
    redirect_uri: str

    @classmethod
    def read(cls, reader: Reader, public_url: str) -> Self | None:
        """Return None when neither id nor secret is set; one without the other is a problem."""
        base_url = reader.optional("GITHUB_BASE_URL", safe_web_url, "https://github.com")
        redirect_uri = reader.optional("GITHUB_REDIRECT_URI", web_url, f"{public_url}/auth/callback")
        if not _all_or_none(reader, "GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET"):
            return None
        return cls(
            base_url=base_url,
            client_id=reader.text("GITHUB_CLIENT_ID") or "",
            client_secret=Secret(reader.text("GITHUB_CLIENT_SECRET") or ""),
            redirect_uri=redirect_uri,
        )


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Sign in with any OpenID Connect issuer."""

    issuer: str
    client_id: str
    client_secret: Secret[str]

    @classmethod
    def read(cls, reader: Reader) -> Self | None:
        """Return None when nothing is set; a part of the three is a problem."""
        issuer = reader.optional("OIDC_ISSUER", safe_web_url, "")
        if not _all_or_none(reader, "OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"):
            return None
        return cls(
            issuer=issuer,
            client_id=reader.text("OIDC_CLIENT_ID") or "",
            client_secret=Secret(reader.text("OIDC_CLIENT_SECRET") or ""),
        )


def _all_or_none(reader: Reader, *names: str) -> bool:
    """Tell whether all are set; some of them is a problem of those that are not."""
    missing = [name for name in names if reader.text(name) is None]
    if len(missing) == len(names):
        return False
    for name in missing:
        others = " and ".join(other for other in names if other not in missing)
        reader.problem(name, f"missing, although {others} is set; set it too, or neither")
    return not missing


def _stripe_key(text: str) -> Secret[str]:
    if text.startswith("pk_"):
        message = "is a publishable key (pk_...); set the secret key (sk_...) or a restricted one (rk_...)"
        raise Invalid(message)
    return Secret(text)
