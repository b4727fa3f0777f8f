"""Portal sessions: a page at Stripe where a customer changes the card, cancels and reads invoices."""

from typing import Final

from local.stripe.answers import page_of
from local.stripe.customers import living
from local.stripe.shapes import BOOLEAN, TEXT, Params, Shape, listed, plain
from local.stripe.store import Body
from local.stripe.world import World

CREATE: Final = Shape(
    "billing_portal.SessionCreateParams",
    {"configuration": TEXT, "customer": TEXT, "locale": TEXT, "return_url": TEXT},
    ("customer",),
)
RETRIEVE_CONFIGURATION: Final = plain("billing_portal.ConfigurationRetrieveParams")
LIST_CONFIGURATIONS: Final = listed("billing_portal.ConfigurationListParams", active=BOOLEAN, is_default=BOOLEAN)
_CONFIGURATION_ID: Final = "bpc_1SpellDefault"


def create(world: World, params: Params) -> Body:
    """Make a session; its `url` is the page."""
    customer = living(world, params["customer"], "customer")
    configuration = _configuration(world)
    if params.get("configuration"):
        configuration = world.get("billing_portal.configuration", params["configuration"], "configuration")
    identifier = world.new_id("bps")
    return world.insert(
        {
            "id": identifier,
            "object": "billing_portal.session",
            "configuration": configuration["id"],
            "created": world.now,
            "customer": customer["id"],
            "flow": None,
            "livemode": False,
            "locale": params.get("locale"),
            "on_behalf_of": None,
            "return_url": params.get("return_url"),
            "url": f"{world.url}/portal/{identifier}",
        }
    )


def retrieve_configuration(world: World, _params: Params, identifier: str) -> Body:
    """Return what the page offers."""
    _configuration(world)
    return world.get("billing_portal.configuration", identifier)


def list_configurations(world: World, params: Params) -> Body:
    """Return the one configuration there is."""
    asked = [params.get("active"), params.get("is_default")]
    found = [] if False in asked else [_configuration(world)]
    return page_of(found, params, "/v1/billing_portal/configurations")


def _configuration(world: World) -> Body:
    """Return the configuration that is made with the account."""
    found = world.find("billing_portal.configuration", _CONFIGURATION_ID)
    if found is not None:
        return found
    reasons = ["too_expensive", "missing_features", "switched_service", "unused", "other"]
    return world.insert(
        {
            "id": _CONFIGURATION_ID,
            "object": "billing_portal.configuration",
            "active": True,
            "application": None,
            "business_profile": {"headline": None, "privacy_policy_url": None, "terms_of_service_url": None},
            "created": world.now,
            "default_return_url": None,
            "features": {
                "customer_update": {"allowed_updates": [], "enabled": False},
                "invoice_history": {"enabled": True},
                "payment_method_update": {"enabled": True, "payment_method_configuration": None},
                "subscription_cancel": {
                    "cancellation_reason": {"enabled": False, "options": reasons},
                    "enabled": True,
                    "mode": "at_period_end",
                    "proration_behavior": "none",
                },
                "subscription_pause": {"duration": {"interval_options": [], "type": "indefinite"}, "enabled": False},
                "subscription_update": {
                    "billing_cycle_anchor": None,
                    "default_allowed_updates": [],
                    "enabled": False,
                    "proration_behavior": "none",
                    "schedule_at_period_end": {"conditions": []},
                    "trial_update_behavior": "end_trial",
                },
            },
            "is_default": True,
            "livemode": False,
            "login_page": {"enabled": False, "url": None},
            "metadata": {},
            "name": None,
            "updated": world.now,
        }
    )
