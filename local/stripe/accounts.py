"""Connected accounts: people whom the platform pays, and the page where they say who they are."""

from collections.abc import Mapping
from typing import Final

from local.stripe.answers import listing, page_of
from local.stripe.api import CURRENCY
from local.stripe.errors import refuse
from local.stripe.shapes import (
    BOOLEAN,
    METADATA,
    RANGE,
    TEXT,
    Field,
    Params,
    Shape,
    listed,
    one_of,
    part,
    plain,
)
from local.stripe.store import Body
from local.stripe.world import World, merged_metadata

# A link is good for a few minutes, and for one use.
LINK_LIFE_S: Final = 5 * 60
_REQUESTED: Final[Mapping[str, Field]] = {"requested": BOOLEAN}
_FIELDS: Final[Mapping[str, Field]] = {
    "business_profile": dict.fromkeys(("mcc", "name", "product_description", "support_email", "url"), TEXT),
    "business_type": one_of("company", "individual", "non_profit"),
    "capabilities": {"card_payments": _REQUESTED, "transfers": _REQUESTED},
    "email": TEXT,
    "metadata": METADATA,
}
CREATE: Final = Shape(
    "AccountCreateParams",
    {
        **_FIELDS,
        "controller": {
            "fees": {"payer": one_of("account", "application")},
            "losses": {"payments": one_of("application", "stripe")},
            "requirement_collection": one_of("application", "stripe"),
            "stripe_dashboard": {"type": one_of("express", "full", "none")},
        },
        "country": TEXT,
        "default_currency": TEXT,
        "type": one_of("express"),
    },
)
UPDATE: Final = Shape("AccountUpdateParams", _FIELDS)
RETRIEVE: Final = plain("AccountRetrieveParams")
LIST: Final = listed("AccountListParams", created=RANGE)
DELETE: Final = Shape("AccountDeleteParams", {}, expands=False)
CREATE_LINK: Final = Shape(
    "AccountLinkCreateParams",
    {
        "account": TEXT,
        "collection_options": {"fields": one_of("currently_due", "eventually_due")},
        "refresh_url": TEXT,
        "return_url": TEXT,
        "type": one_of("account_onboarding", "account_update"),
    },
    ("account", "type"),
)
CREATE_LOGIN_LINK: Final = plain("AccountCreateLoginLinkParams")
_DUE: Final = ["business_type", "external_account", "representative.first_name", "tos_acceptance.date"]


def create(world: World, params: Params) -> Body:
    """Make an account that can do nothing until its owner went through the onboarding page."""
    dashboard = part(part(params, "controller"), "stripe_dashboard").get("type")
    if params.get("type") and params.get("controller"):
        refuse("You may not provide the `type` parameter and `controller` parameters at the same time.", param="type")
    if dashboard not in (None, "express"):
        refuse("The stand-in makes accounts with the Express Dashboard alone.", param="controller[stripe_dashboard]")
    identifier = world.new_id("acct")
    body: Body = {
        "id": identifier,
        "object": "account",
        "business_profile": {
            **dict.fromkeys(
                ("mcc", "name", "product_description", "support_address", "support_email", "support_phone")
            ),
            **dict.fromkeys(("support_url", "url")),
        },
        "business_type": params.get("business_type"),
        "capabilities": {},
        "charges_enabled": False,
        "controller": {
            "fees": {"payer": "application"},
            "is_controller": True,
            "losses": {"payments": "application"},
            "requirement_collection": "stripe",
            "stripe_dashboard": {"type": "express"},
            "type": "application",
        },
        "country": (params.get("country") or "US").upper(),
        "created": world.now,
        "default_currency": CURRENCY,
        "details_submitted": False,
        "email": params.get("email"),
        "external_accounts": listing(f"/v1/accounts/{identifier}/external_accounts", []),
        "future_requirements": _requirements([], None),
        "metadata": {},
        "payouts_enabled": False,
        "requirements": _requirements(_DUE, "requirements.past_due"),
        "settings": _settings(),
        "tos_acceptance": {"date": None, "ip": None, "user_agent": None},
        "type": "express",
    }
    world.insert(body)
    _change(world, body, params)
    return body


def update(world: World, params: Params, identifier: str) -> Body:
    """Change an account."""
    body = world.get("account", identifier)
    before = {**body, "capabilities": dict(body["capabilities"])}
    _change(world, body, params)
    world.tell_changes("account.updated", body, before, account=identifier)
    return body


def retrieve(world: World, _params: Params, identifier: str) -> Body:
    """Return an account."""
    return world.get("account", identifier)


def list_all(world: World, params: Params) -> Body:
    """Return accounts, newest first."""
    return page_of(world.all("account"), params, "/v1/accounts")


def delete(world: World, _params: Params, identifier: str) -> Body:
    """Delete an account."""
    world.get("account", identifier)
    world.store.delete(identifier)
    return {"id": identifier, "object": "account", "deleted": True}


def create_link(world: World, params: Params) -> Body:
    """Make a link to the onboarding page, for its owner to follow at once."""
    account = world.get("account", params["account"], "account")
    for name in ("refresh_url", "return_url"):
        if not str(params.get(name) or "").startswith(("http://", "https://")):
            refuse("Not a valid URL", code="url_invalid", param=name)
    if params["type"] == "account_update":
        message = "You cannot create `account_update` type Account Links for accounts with the Express Dashboard."
        refuse(message, param="type")
    identifier = world.new_id("acctlink")
    world.insert(
        {
            "id": identifier,
            "object": "_account_link",
            "created": world.now,
            "account": account["id"],
            "refresh_url": params["refresh_url"],
            "return_url": params["return_url"],
            "expires_at": world.now + LINK_LIFE_S,
            "used": False,
        }
    )
    return {
        "object": "account_link",
        "created": world.now,
        "expires_at": world.now + LINK_LIFE_S,
        "url": f"{world.url}/onboarding/{identifier}",
    }


def create_login_link(world: World, _params: Params, identifier: str) -> Body:
    """Make a link to the account's own dashboard."""
    account = world.get("account", identifier)
    if not account["details_submitted"]:
        refuse("Cannot create a login link for an account that has not completed onboarding.")
    return {"object": "login_link", "created": world.now, "url": f"{world.url}/accounts/{identifier}"}


def use_link(world: World, identifier: str) -> Body | None:
    """Return a link that is good, which it is no more; None for one that was used or is too old."""
    link = world.find("_account_link", identifier)
    if link is None or link["used"] or link["expires_at"] < world.now:
        return None
    return world.update(link, used=True)


def onboard(world: World, identifier: str) -> Body:
    """Write down that the owner said everything: the account can be paid now."""
    body = world.get("account", identifier)
    before = {**body, "capabilities": dict(body["capabilities"])}
    active = dict.fromkeys(body["capabilities"], "active")
    world.update(
        body,
        business_type=body["business_type"] or "individual",
        capabilities=active,
        charges_enabled="card_payments" in active,
        details_submitted=True,
        payouts_enabled=True,
        requirements=_requirements([], None),
        tos_acceptance={"date": world.now, "ip": "127.0.0.1", "user_agent": None},
    )
    world.tell_changes("account.updated", body, before, account=identifier)
    return body


def restrict(world: World, identifier: str) -> Body:
    """Write down that Stripe wants to know more: the account can be paid no longer, until its owner says it."""
    body = world.get("account", identifier)
    before = {**body, "capabilities": dict(body["capabilities"])}
    world.update(
        body,
        capabilities=dict.fromkeys(body["capabilities"], "inactive"),
        charges_enabled=False,
        payouts_enabled=False,
        requirements=_requirements(["individual.verification.document"], "requirements.past_due"),
    )
    world.tell_changes("account.updated", body, before, account=identifier)
    return body


def _change(world: World, body: Body, params: Params) -> None:
    for name, asked in part(params, "capabilities").items():
        if asked.get("requested"):
            body["capabilities"].setdefault(name, "active" if body["details_submitted"] else "inactive")
        elif asked.get("requested") is False:
            body["capabilities"].pop(name, None)
    body["business_profile"] |= part(params, "business_profile")
    body |= {name: value for name, value in params.items() if name in {"business_type", "email"}}
    world.update(body, metadata=merged_metadata(body["metadata"], params))


def _requirements(due: list[str], reason: str | None) -> Body:
    return {
        "alternatives": [],
        "current_deadline": None,
        "currently_due": due,
        "disabled_reason": reason,
        "errors": [],
        "eventually_due": due,
        "past_due": due,
        "pending_verification": [],
    }


def _settings() -> Body:
    payments = dict.fromkeys(("statement_descriptor", "statement_descriptor_kana", "statement_descriptor_kanji"))
    declines = {"avs_failure": False, "cvc_failure": False}
    prefixes = ("statement_descriptor_prefix", "statement_descriptor_prefix_kana", "statement_descriptor_prefix_kanji")
    return {
        "branding": dict.fromkeys(("icon", "logo", "primary_color", "secondary_color")),
        "card_payments": {"decline_on": declines, **dict.fromkeys(prefixes)},
        "dashboard": {"display_name": None, "timezone": "Etc/UTC"},
        "payments": payments,
        "payouts": {
            "debit_negative_balances": True,
            "schedule": {"delay_days": 2, "interval": "daily"},
            "statement_descriptor": None,
        },
    }
