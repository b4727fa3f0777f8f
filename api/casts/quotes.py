"""Quotes: what a cast would cost at most, signed, and what becomes of one that comes back with a cast."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import uuid4

import msgspec
from litestar import Request, post
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, Reference, RequestBody, Schema

from api.access import needs
from api.auth import Principal
from api.casts.request import CastBody, fault_of, refuse_malformed, spec_of
from api.casts.signing import refuse_quote
from api.errors import invalid
from api.services import Services
from api.spells.catalog import ResolvedSpell
from domain.flow.make_quote import make_quote
from domain.model.errors import RefusedError
from domain.model.key_rules import KeyScope
from domain.model.limits import CastLimits
from domain.model.manifest import LimitsAsked
from domain.model.quote import Quote
from domain.store.connection import transaction

SELECTOR_CHARACTERS_MAX: Final = 80


class QuoteBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one would cast; the input is checked as for a cast, and kept nowhere."""

    version: Annotated[str, msgspec.Meta(min_length=1, max_length=SELECTOR_CHARACTERS_MAX)] = "latest"
    """`1.2.0`, `1`, `latest` or `sha256:...`: the quote pins what it means now."""
    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    input_base64: str | None = None
    limits: LimitsAsked | None = None


class QuotedRates(msgspec.Struct, frozen=True, kw_only=True):
    """The prices the quote fixes, in micros."""

    price_version: int
    per_cast_micros: int
    per_gfuel_micros: int
    creator_per_cast_micros: int
    creator_per_output_kib_micros: int
    creator_per_unit_micros: int
    units_max: int


class QuoteView(msgspec.Struct, frozen=True, kw_only=True):
    """A quote. `quote` is the text to send with a cast; the rest says what is in it."""

    id: str
    quote: str
    spell: str
    version: str
    digest: str
    limits: CastLimits
    max_price_micros: int
    """What is held for a cast with these limits, and the most it costs."""
    rates: QuotedRates
    currency: str
    expires_at: datetime


@dataclass
class QuoteOperation(Operation):
    """The OpenAPI operation of a route that reads its body as it came, which Litestar cannot see."""

    def __post_init__(self) -> None:
        """Declare the body."""
        text, nothing = OpenAPIType.STRING, OpenAPIType.NULL
        limits = Reference(ref="#/components/schemas/CastLimitsRequest")
        properties: dict[str, Schema | Reference] = {
            "version": Schema(type=text, default="latest", max_length=SELECTOR_CHARACTERS_MAX),
            "input": Schema(description="Any JSON, as the spell would read it."),
            "input_base64": Schema(type=[text, nothing], description="Instead of input: the bytes of stdin."),
            "limits": Schema(any_of=[limits, Schema(type=nothing)]),
        }
        body = Schema(type=OpenAPIType.OBJECT, properties=properties, additional_properties=False)
        self.request_body = RequestBody(content={"application/json": OpenAPIMediaType(schema=body)}, required=True)


async def resolve_cast(services: Services, body: CastBody, principal: Principal) -> tuple[ResolvedSpell, Quote | None]:
    """Return the version a cast means, and the quote it brings: then it is the quote's version."""
    if body.quote is None:
        return await services.catalog.resolve(body.spell, principal), None
    quote = services.quotes.read(body.quote, principal.account_id)
    path, _, selector = body.spell.partition("@")
    if path != quote.spell or selector not in {"", quote.version, quote.digest}:
        fix = f"Cast {quote.spell}, or leave the quote out."
        refuse_quote(f"it is for {quote.spell}@{quote.version}, and {body.spell} is asked for", fix)
    return await services.catalog.resolve(f"{quote.spell}@{quote.version}", principal), quote


@post(
    "/v1/spells/{owner:str}/{name:str}/quote",
    status_code=200,
    access=needs(KeyScope.CASTS_WRITE, test_keys=True),
    operation_class=QuoteOperation,
)
async def quote_cast(
    request: Request[Any, Any, Any], services: Services, principal: Principal, owner: str, name: str
) -> QuoteView:
    """Say what a cast would cost at most. Version and prices are promised for 15 minutes: send `quote` with the cast.

    Nothing is held. The same quote may be used for any number of casts until it expires.
    """
    body = _body(await request.body())
    spell = await services.catalog.resolve(f"{owner}/{name}@{body.version}", principal)
    asked = CastBody(spell="", input=body.input, input_base64=body.input_base64, limits=body.limits)
    spec = spec_of(asked, spell, None, private_allowed=())
    async with transaction(services.engine_pool) as connection:
        quote = await make_quote(
            connection,
            spec,
            quote_id=uuid4(),
            account_id=principal.account_id,
            spell=f"{spell.owner}/{spell.name}",
            version=spell.version,
        )
    return _view(quote, services.quotes.sign(quote))


def _body(raw: bytes) -> QuoteBody:
    try:
        return msgspec.json.decode(raw or b"{}", type=QuoteBody)
    except msgspec.ValidationError as error:
        raise RefusedError(invalid([fault_of(str(error))])) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refuse_malformed(error) from error


def _view(quote: Quote, text: str) -> QuoteView:
    price, creator = quote.price, quote.creator_price
    return QuoteView(
        id=str(quote.id),
        quote=text,
        spell=quote.spell,
        version=quote.version,
        digest=quote.digest,
        limits=quote.limits,
        max_price_micros=quote.max_price_micros,
        rates=QuotedRates(
            price_version=price.version,
            per_cast_micros=price.per_cast_micros,
            per_gfuel_micros=price.per_gfuel_micros,
            creator_per_cast_micros=creator.per_cast_micros,
            creator_per_output_kib_micros=creator.per_output_kib_micros,
            creator_per_unit_micros=creator.per_unit_micros,
            units_max=creator.units_max,
        ),
        currency="usd",
        expires_at=datetime.fromtimestamp(quote.expires_ms / 1000, tz=UTC),
    )


ROUTES: Final = [quote_cast]
