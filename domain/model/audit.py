"""What the audit log says of a change: who made it, what it was, how its target looked before and after.

Of a target only what stands in SHOWN is ever written, so that a column added to a table tomorrow, a secret's hash for
one, stays out until somebody puts it there.
"""

import enum
from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

ActorKind = Literal["session", "key", "admin", "operator", "platform"]


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who changes something, and from where."""

    kind: ActorKind
    """`admin`: through /admin; `operator`: at a command line on the database; `platform`: nobody in particular."""
    id: UUID | None = None
    """The session or the key, where there is one."""
    user_id: UUID | None = None
    """The person behind a session."""
    address: str = ""
    """Of the client, empty for the operator and the platform."""
    request_id: str = ""


OPERATOR: Final = Actor(kind="operator")
PLATFORM: Final = Actor(kind="platform")


class Action(enum.StrEnum):
    """What was done, as `<kind of the target>.<verb>`."""

    KEY_CREATE = "key.create"
    KEY_UPDATE = "key.update"
    KEY_ROTATE = "key.rotate"
    KEY_REVOKE = "key.revoke"
    KEY_REVOKE_LEAKED = "key.revoke_leaked"
    BUDGET_CREATE = "budget.create"
    BUDGET_UPDATE = "budget.update"
    BUDGET_DELETE = "budget.delete"
    SPELL_CREATE = "spell.create"
    SPELL_UPDATE = "spell.update"
    SPELL_RETIRE = "spell.retire"
    SPELL_SUSPEND = "spell.suspend"
    VERSION_PUBLISH = "version.publish"
    VERSION_UPDATE = "version.update"
    VERSION_YANK = "version.yank"
    VERSION_UNYANK = "version.unyank"
    WEBHOOK_CREATE = "webhook.create"
    WEBHOOK_UPDATE = "webhook.update"
    WEBHOOK_ROTATE = "webhook.rotate"
    WEBHOOK_DELETE = "webhook.delete"
    SESSION_BEGIN = "session.begin"
    SESSION_END = "session.end"
    DEVICE_APPROVE = "device.approve"
    DEVICE_DENY = "device.deny"
    USER_CREATE = "user.create"
    IDENTITY_LINK = "identity.link"
    ACCOUNT_UPDATE = "account.update"
    ACCOUNT_ERASE = "account.erase"
    BILLING_UPDATE = "billing.update"
    PAYOUT_ACCOUNT_CREATE = "payout_account.create"
    PAYOUT_ACCOUNT_UPDATE = "payout_account.update"
    SPENDING_PAUSE = "spending.pause"
    SPENDING_RESUME = "spending.resume"
    EXPORT_CREATE = "export.create"
    PRICE_CREATE = "price.create"
    PRICE_ANNOUNCE = "price.announce"
    CREDITS_GRANT = "credits.grant"
    CREDITS_CONSUME = "credits.consume"
    CREDIT_ORDER_CREATE = "credit_order.create"
    CREDIT_ORDER_REFUND = "credit_order.refund"
    TOP_UP_UPDATE = "top_up.update"
    PACKAGE_UPDATE = "package.update"
    CAST_REFUND = "cast.refund"
    DEAD_LETTER_REQUEUE = "dead_letter.requeue"
    DEAD_LETTER_DROP = "dead_letter.drop"

    @property
    def target_kind(self) -> str:
        """What it was done to."""
        return self.value.partition(".")[0]


# By kind of target. No secret, nothing that leads to one, and no name or address of a person: what erasure must be
# able to forget does not belong in a log that nobody changes.
SHOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "key": (
        "prefix", "name", "scopes", "rate_limit_rpm", "open_casts_max", "allowed_origins", "expires_at", "revoked_at",
        "previous_prefix", "previous_until",
    ),
    "budget": ("scope", "scope_id", "period", "soft_limit_micros", "hard_limit_micros", "notify"),
    "spell": ("name", "description", "visibility", "deprecation", "suspended_at", "reason"),
    "version": ("spell_id", "version", "digest", "creator_price_micros", "deprecation", "yanked_at"),
    # Of a URL the origin alone: path and query are the password of many receivers.
    "webhook": ("url", "description", "event_types", "secret_version", "previous_secret_until", "disabled_at"),
    "session": ("kind", "expires_at", "ended_at"),
    "device": (),
    "user": ("handle", "plan", "billing"),
    "identity": ("issuer",),
    "account": ("data_days", "price_version"),
    # How an account pays; ids of Stripe's lead to a person's card and address, and stay out.
    "billing": ("plan", "status", "ends_at", "grace_until"),
    # Whose bank account it leads to stands at Stripe alone.
    "payout_account": ("details_submitted", "transfers_active", "payouts_enabled", "disabled_reason"),
    "spending": (),
    "export": (),
    # The platform's, and that of a version.
    "price": (
        "version", "per_cast_micros", "per_gfuel_micros", "platform_share_percent", "version_id",
        "per_output_kib_micros", "per_unit_micros", "effective_ms",
    ),
    "credits": ("micros", "priority", "expires_at"),
    "credit_order": ("package_id", "credits", "price_micros", "granted_micros", "money_micros", "credits_micros"),
    "package": ("name", "credits", "price_cents", "stripe_price"),
    "top_up": ("enabled", "package_id", "threshold_micros", "monthly_cap_micros"),
    "cast": ("amount_micros", "reason"),
    "dead_letter": ("reason", "cast_id", "new_cast_id"),
}  # fmt: skip

Target = msgspec.Struct | Mapping[str, Any]


def shown(kind: str, target: Target | None) -> dict[str, Any] | None:
    """Return what may be written of a target, in types that JSON has; None of one that is not there."""
    if target is None:
        return None
    fields = target if isinstance(target, Mapping) else msgspec.structs.asdict(target)
    return {name: _plain(name, fields[name]) for name in SHOWN[kind] if name in fields}


def _plain(name: str, value: object) -> object:
    if isinstance(value, bytes):
        assert name == "digest", f"{name} is no digest; what else has bytes is nobody's to read"
        return f"sha256:{value.hex()}"
    if name == "url":
        parts = urlsplit(str(value))
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return msgspec.to_builtins(value)
