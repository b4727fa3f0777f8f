"""Products and their prices."""

from collections.abc import Mapping
from typing import Final

from local.stripe.answers import page_of
from local.stripe.api import CHARGE_CENTS_MAX, CURRENCY
from local.stripe.errors import refuse, refuse_without
from local.stripe.shapes import (
    BOOLEAN,
    DECIMAL,
    INTEGER,
    METADATA,
    RANGE,
    TEXT,
    Field,
    ListOf,
    Params,
    Shape,
    listed,
    one_of,
    plain,
)
from local.stripe.store import Body
from local.stripe.world import World, merged_metadata

INTERVAL: Final = one_of("day", "month", "week", "year")
_PRODUCT: Final[Mapping[str, Field]] = {
    "active": BOOLEAN,
    "description": TEXT,
    "images": ListOf(TEXT),
    "metadata": METADATA,
    "name": TEXT,
    "statement_descriptor": TEXT,
    "unit_label": TEXT,
    "url": TEXT,
}
CREATE_PRODUCT: Final = Shape("ProductCreateParams", {**_PRODUCT, "id": TEXT}, ("name",))
UPDATE_PRODUCT: Final = Shape("ProductModifyParams", {**_PRODUCT, "default_price": TEXT})
RETRIEVE_PRODUCT: Final = plain("ProductRetrieveParams")
LIST_PRODUCTS: Final = listed("ProductListParams", active=BOOLEAN, created=RANGE, ids=ListOf(TEXT))
CREATE_PRICE: Final = Shape(
    "PriceCreateParams",
    {
        "active": BOOLEAN,
        "currency": TEXT,
        "lookup_key": TEXT,
        "metadata": METADATA,
        "nickname": TEXT,
        "product": TEXT,
        "product_data": {"active": BOOLEAN, "id": TEXT, "metadata": METADATA, "name": TEXT, "unit_label": TEXT},
        "recurring": {"interval": INTERVAL, "interval_count": INTEGER, "usage_type": one_of("licensed")},
        "tax_behavior": one_of("exclusive", "inclusive", "unspecified"),
        "transfer_lookup_key": BOOLEAN,
        "unit_amount": INTEGER,
        "unit_amount_decimal": DECIMAL,
    },
    ("currency",),
)
UPDATE_PRICE: Final = Shape(
    "PriceModifyParams",
    {
        "active": BOOLEAN,
        "lookup_key": TEXT,
        "metadata": METADATA,
        "nickname": TEXT,
        "tax_behavior": one_of("exclusive", "inclusive", "unspecified"),
        "transfer_lookup_key": BOOLEAN,
    },
)
RETRIEVE_PRICE: Final = plain("PriceRetrieveParams")
LIST_PRICES: Final = listed(
    "PriceListParams",
    active=BOOLEAN,
    created=RANGE,
    currency=TEXT,
    lookup_keys=ListOf(TEXT),
    product=TEXT,
    type=one_of("one_time", "recurring"),
)


def create_product(world: World, params: Params) -> Body:
    """Make a product."""
    identifier = params.get("id") or world.new_id("prod")
    if world.store.find(identifier) is not None:
        refuse(f"Product already exists: {identifier}", code="resource_already_exists", param="id")
    body: Body = {
        "id": identifier,
        "object": "product",
        "active": True,
        "created": world.now,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": None,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": None,
        "updated": world.now,
        "url": None,
    }
    body |= {name: value for name, value in params.items() if name not in {"expand", "metadata"}}
    body["id"], body["metadata"] = identifier, merged_metadata(None, params)
    world.insert(body)
    world.tell("product.created", body)
    return body


def update_product(world: World, params: Params, identifier: str) -> Body:
    """Change a product."""
    body = world.get("product", identifier)
    if params.get("default_price"):
        world.get("price", params["default_price"], "default_price")
    before = dict(body)
    body |= {name: value for name, value in params.items() if name not in {"expand", "metadata"}}
    world.update(body, metadata=merged_metadata(body["metadata"], params), updated=world.now)
    world.tell_changes("product.updated", body, before)
    return body


def retrieve_product(world: World, _params: Params, identifier: str) -> Body:
    """Return a product."""
    return world.get("product", identifier)


def list_products(world: World, params: Params) -> Body:
    """Return products, newest first."""
    ids, active = params.get("ids"), params.get("active")
    found = (
        body for body in world.all("product") if active in (None, body["active"]) and (not ids or body["id"] in ids)
    )
    return page_of(found, params, "/v1/products")


def create_price(world: World, params: Params, *, identifier: str | None = None, active: bool = True) -> Body:
    """Make a price, and its product where it is described along with it."""
    amount = amount_of(params)
    product = _product_of(world, params)
    recurring = params.get("recurring")
    if recurring is not None and "interval" not in recurring:
        refuse_without("recurring[interval]")
    body: Body = {
        "id": identifier or world.new_id("price"),
        "object": "price",
        "active": params.get("active", active),
        "billing_scheme": "per_unit",
        "created": world.now,
        "currency": currency_of(params),
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": _free_lookup_key(world, params),
        "metadata": merged_metadata(None, params),
        "nickname": params.get("nickname"),
        "product": product,
        "recurring": None
        if recurring is None
        else {
            "interval": recurring["interval"],
            "interval_count": recurring.get("interval_count") or 1,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        },
        "tax_behavior": params.get("tax_behavior") or "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "one_time" if recurring is None else "recurring",
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
    }
    world.insert(body)
    world.tell("price.created", body)
    return body


def update_price(world: World, params: Params, identifier: str) -> Body:
    """Change what of a price may change; its amount never does."""
    body = world.get("price", identifier)
    before = dict(body)
    if "lookup_key" in params:
        body["lookup_key"] = _free_lookup_key(world, params)
    body |= {name: value for name, value in params.items() if name in {"active", "nickname", "tax_behavior"}}
    world.update(body, metadata=merged_metadata(body["metadata"], params))
    world.tell_changes("price.updated", body, before)
    return body


def retrieve_price(world: World, _params: Params, identifier: str) -> Body:
    """Return a price."""
    return world.get("price", identifier)


def list_prices(world: World, params: Params) -> Body:
    """Return prices, newest first."""
    keys = params.get("lookup_keys")
    asked = {name: params[name] for name in ("active", "currency", "type") if params.get(name) is not None}
    found = (
        body
        for body in world.all("price", owner=params.get("product"))
        if all(body[name] == value for name, value in asked.items()) and (not keys or body["lookup_key"] in keys)
    )
    return page_of(found, params, "/v1/prices")


def amount_of(params: Params, prefix: str = "") -> int:
    """Return the cents of a price: `unit_amount`, or the decimal one when it is whole."""
    amount, decimal = params.get("unit_amount"), params.get("unit_amount_decimal")
    if amount is None and decimal is not None:
        whole, _, fraction = decimal.partition(".")
        if fraction.strip("0"):
            refuse("The stand-in counts whole cents: give `unit_amount`.", param="unit_amount_decimal")
        amount = int(whole)
    if amount is None:
        refuse_without(f"{prefix}[unit_amount]" if prefix else "unit_amount")
    if not 0 <= amount <= CHARGE_CENTS_MAX:
        refuse("Invalid non-negative integer", code="parameter_invalid_integer", param="unit_amount")
    return amount


def currency_of(params: Params) -> str:
    """Return the currency of a request. Raises StripeError for one that this stand-in does not have."""
    currency = str(params["currency"]).lower()
    if currency != CURRENCY:
        refuse(f"Invalid currency: {currency}. The stand-in knows {CURRENCY} alone.", param="currency")
    return currency


def _product_of(world: World, params: Params) -> str:
    if params.get("product"):
        return world.get("product", params["product"], "product")["id"]
    data = params.get("product_data")
    if data is None:
        refuse_without("product")
    if not data.get("name"):
        refuse_without("product_data[name]")
    return create_product(world, data)["id"]


def _free_lookup_key(world: World, params: Params) -> str | None:
    """Return the lookup key asked for, taken from the price that had it where the request says so."""
    key = params.get("lookup_key")
    holder = next((body for body in world.all("price") if key and body["lookup_key"] == key), None)
    if holder is not None:
        if not params.get("transfer_lookup_key"):
            refuse(
                f"A price (`{holder['id']}`) already uses that lookup key.",
                code="resource_already_exists",
                param="lookup_key",
            )
        world.update(holder, lookup_key=None)
    return key
