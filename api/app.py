"""The api put together by hand: its parts, its middleware, its routes and its background work, each in one list."""

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from importlib.metadata import version
from typing import Any, Final, cast

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.types import ControllerRouterHandler
from redis.asyncio import Redis

from api import audit, docs, internal, me, well_known
from api.access_log import Log
from api.actors import provide_actor, provide_admin
from api.admission.batcher import Batcher
from api.admission.rate import RateLimiter
from api.admission.waiting import ASK_EVERY_S, Waiting
from api.admission.wire import Wire
from api.auth import NOTE_EVERY_S as KEY_USES_EVERY_S
from api.auth import REFRESH_EVERY_S, Authenticator
from api.background import Loop, running
from api.billing import page as billing_page
from api.billing import routes as billing
from api.billing import stripe_webhook
from api.billing.fees import Fees
from api.budgets import routes as budgets
from api.budgets.board import BudgetBoard
from api.casts import quotes, receipts
from api.casts import reading as cast_reading
from api.casts import routes as casts
from api.casts.reader import CastReader
from api.casts.signing import Quotes, Receipts
from api.connections import LOOK_EVERY_S, ConnectionCheck
from api.cors import Cors, KeyOrigins
from api.credits import checkout as credit_checkout
from api.credits import consuming as credit_consuming
from api.credits import routes as credit_routes
from api.docs import openapi_config
from api.earnings import page as earnings_page
from api.earnings import routes as earnings
from api.edge import App, Edge, Shortcut
from api.guard import admit_preflight, judge_first, provide_principal, provide_visitor
from api.invoices import routes as invoices
from api.keys import routes as keys
from api.login import elsewhere, mailed
from api.login import pages as login_pages
from api.operator import admin, billing_runs, dead_letters, health, payout_runs, refunds
from api.operator import credits as credit_admin
from api.operator.metrics import Metrics
from api.operator.probes import Probes
from api.operator.sampler import NOTE_EVERY_S, Sampler
from api.payouts import page as payouts_page
from api.payouts import routes as payouts
from api.privacy import erasure
from api.privacy import routes as privacy
from api.proxies import Proxies
from api.services import Services
from api.sessions import device
from api.sessions import routes as sessions
from api.sessions.known import Sessions
from api.shutdown import Shutdown
from api.spells import routes as spells
from api.spells.catalog import Catalog
from api.spells.publishing import Publisher, signer_of
from api.strangers import Strangers
from api.trouble import exception_handlers
from api.uncounted import Uncounted
from api.usage import routes as usage
from api.web_safety import Site, standing_headers
from api.webhooks import deliveries, following
from api.webhooks import endpoints as webhooks
from api.webhooks.followers import Followers
from domain.model.admission_state import Terms
from domain.model.limits import MIB
from domain.model.plans import PlanPrices
from domain.settings import ApiSettings, OidcSettings
from domain.store.connection import Role, open_pool, statement
from domain.store.prices import price_latest
from gateways.compiler import Compiler
from gateways.github import Github
from gateways.jose import JwsSigner
from gateways.oidc import OidcProvider
from gateways.stripe.client import StripeGateway
from workers.broker.link import tcp_options

# A batch, its second lane, reads and lookups at the same time; more connections only queue inside Postgres.
POOL_SIZE_MAX: Final = 10
# An answer of Redis comes within milliseconds; blocking commands are not used here.
REDIS_TIMEOUT_S: Final = 2.0
# Any route that reads a body without its own bound; publishing and casts set theirs.
BODY_BYTES_MAX: Final = 8 * MIB
TERMS_EVERY_S: Final = 1.0
PROCESS_NAME_BYTES: Final = 5


def routes(services: Services) -> list[ControllerRouterHandler]:
    """Return every route of the api."""
    return [
        *casts.routes(services),
        *cast_reading.ROUTES,
        *quotes.ROUTES,
        *receipts.ROUTES,
        *well_known.ROUTES,
        *spells.ROUTES,
        *keys.ROUTES,
        *me.ROUTES,
        *audit.ROUTES,
        *sessions.ROUTES,
        *device.ROUTES,
        *privacy.ROUTES,
        *erasure.ROUTES,
        *elsewhere.ROUTES,
        *mailed.ROUTES,
        *login_pages.ROUTES,
        *budgets.ROUTES,
        *usage.ROUTES,
        *credit_routes.ROUTES,
        *credit_checkout.ROUTES,
        *credit_consuming.ROUTES,
        *invoices.ROUTES,
        *earnings.ROUTES,
        *earnings_page.ROUTES,
        *webhooks.ROUTES,
        *deliveries.ROUTES,
        *following.ROUTES,
        *billing.ROUTES,
        *billing_page.ROUTES,
        *payouts.ROUTES,
        *payouts_page.ROUTES,
        *stripe_webhook.ROUTES,
        *internal.ROUTES,
        *health.ROUTES,
        *admin.ROUTES,
        *billing_runs.ROUTES,
        *payout_runs.ROUTES,
        *dead_letters.ROUTES,
        *refunds.ROUTES,
        *credit_admin.ROUTES,
        *docs.ROUTES,
    ]


def create_app(
    settings: ApiSettings, *, log: Log, clock: Callable[[], float], now: Callable[[], datetime]
) -> tuple[Edge, Services]:
    """Return the whole application and its parts; inside an event loop, for locks belong to it."""
    services = _services(settings, log=log, clock=clock, now=now)
    app = Litestar(
        routes(services),
        lifespan=[_lifespan(services)],
        guards=[judge_first],
        dependencies={
            "services": Provide(lambda: services, sync_to_thread=False),
            "principal": Provide(provide_principal),
            "visitor": Provide(provide_visitor),
            "actor": Provide(provide_actor, sync_to_thread=False),
            "admin": Provide(provide_admin, sync_to_thread=False),
        },
        exception_handlers=exception_handlers(settings.public_url),
        openapi_config=openapi_config(version("spell-platform")),
        request_max_body_size=BODY_BYTES_MAX,
        state=State({"services": services}),
        logging_config=None,
    )
    # Middleware, outermost first: the edge, CORS, the short way to the casts, the net under the rates. That is all.
    cors = Cors(
        Shortcut(Uncounted(cast("App", app), services), casts.paths(services)),
        origins=settings.cors_origins,
        key_origins=KeyOrigins(services.engine_pool, clock=clock),
        limit=partial(admit_preflight, services),
        public_url=settings.public_url,
    )
    process = os.urandom(PROCESS_NAME_BYTES).hex()
    standing = standing_headers(settings.public_url)
    edge = Edge(cors, log=log, metrics=services.metrics, clock=clock, process=process, standing=standing)
    return edge, services


def _services(settings: ApiSettings, *, log: Log, clock: Callable[[], float], now: Callable[[], datetime]) -> Services:
    app_pool = open_pool(settings.database_url.reveal(), role=Role.APP, size_max=POOL_SIZE_MAX)
    engine_pool = open_pool(settings.engine_database_url.reveal(), role=Role.ENGINE, size_max=POOL_SIZE_MAX)
    redis = _redis(settings.redis_url.reveal())
    metrics = Metrics()
    limiter = RateLimiter(redis, clock=clock, now=now, metrics=metrics)
    proxies = Proxies(settings.trusted_proxies)
    board = BudgetBoard(clock)
    token_key = settings.cast_token_key.reveal()
    wire = Wire(redis, token_key=token_key, clock=clock, metrics=metrics)
    authenticator = Authenticator(engine_pool, clock=clock, rpm_default=settings.rate_limit_rpm, board=board)
    metrics.watch(metrics.keys_verified, lambda: authenticator.hashed)
    waiting = Waiting(engine_pool, redis, token_key=token_key, metrics=metrics)
    receipt_key = None if settings.receipt_signing_key is None else settings.receipt_signing_key.reveal()
    stripe = None if settings.stripe is None else StripeGateway(settings.stripe)
    shutdown = Shutdown()
    shutdown.then(waiting.close)
    return Services(
        settings=settings,
        app_pool=app_pool,
        engine_pool=engine_pool,
        redis=redis,
        catalog=Catalog(engine_pool, clock=clock),
        publisher=Publisher(
            engine_pool,
            compiler=Compiler(jail=settings.jail),
            signer=signer_of(settings.artifact_signing_key.reveal()),
            now=now,
        ),
        authenticator=authenticator,
        sessions=Sessions(engine_pool, clock=clock, rpm=settings.rate_limit_rpm, board=board),
        site=Site(settings.public_url),
        github=None if settings.github is None else Github(settings.github),
        oidc=None if settings.oidc is None else _issuer(settings, settings.oidc, clock=clock, now=now),
        stripe=stripe,
        plan_prices=PlanPrices() if settings.stripe is None else settings.stripe.prices,
        fees=None if stripe is None or settings.stripe is None else Fees(stripe, settings.stripe.prices, clock=clock),
        limiter=limiter,
        budget_board=board,
        batcher=Batcher(engine_pool, limiter=limiter, wire=wire, waiting=waiting, metrics=metrics, clock=clock),
        quotes=Quotes(None if receipt_key is None else JwsSigner(receipt_key)),
        receipts=Receipts(
            receipt_key,
            retired_keys=settings.receipt_retired_keys,
            artifact_key=settings.artifact_signing_key.reveal(),
        ),
        waiting=waiting,
        wire=wire,
        casts=CastReader(engine_pool, casts_url=f"{settings.public_url}/v1/casts"),
        sampler=Sampler(metrics, log=log, app_pool=app_pool, engine_pool=engine_pool, redis=redis, clock=clock),
        probes=Probes(engine_pool, redis, wire, now=now),
        shutdown=shutdown,
        followers=Followers(),
        metrics=metrics,
        log=log,
        proxies=proxies,
        strangers=Strangers(proxies, rpm=settings.rate_limit_anon_rpm, clock=clock),
        clock=clock,
        now=now,
    )


def _issuer(
    settings: ApiSettings, oidc: OidcSettings, *, clock: Callable[[], float], now: Callable[[], datetime]
) -> OidcProvider:
    return OidcProvider(oidc, redirect_uri=f"{settings.public_url}/auth/oidc/callback", clock=clock, now=now)


def _redis(url: str) -> Redis:
    from_url: Callable[..., Redis] = Redis.from_url  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # redis-py leaves options untyped
    return from_url(
        url, protocol=2, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S, **tcp_options(url)
    )


def _background(services: Services) -> list[Loop]:
    """Return everything that runs beside the requests."""
    check = ConnectionCheck((services.app_pool, services.engine_pool))
    gauges = [Loop(name="gauges", every_s=NOTE_EVERY_S, work=services.sampler.note)] if services.metrics.shared else []
    return [
        *gauges,
        Loop(name="admission", every_s=0, work=services.batcher.run_once),
        Loop(name="wire", every_s=0, work=services.wire.run_once),
        Loop(name="wake", every_s=0, work=services.waiting.listen),
        Loop(name="results", every_s=ASK_EVERY_S, work=services.waiting.ask),
        Loop(name="keys", every_s=REFRESH_EVERY_S, work=services.authenticator.refresh),
        Loop(name="key uses", every_s=KEY_USES_EVERY_S, work=lambda: services.authenticator.note_uses(services.now())),
        Loop(name="session uses", every_s=KEY_USES_EVERY_S, work=lambda: services.sessions.note_uses(services.now())),
        Loop(name="connections", every_s=LOOK_EVERY_S, work=check.run_once),
        Loop(name="terms", every_s=TERMS_EVERY_S, work=lambda: read_terms(services)),
    ]


async def read_terms(services: Services) -> None:
    """Bring the price of the day to admission. Raises StoreError."""
    async with statement(services.engine_pool) as connection:
        price = await price_latest(connection)
    if price is not None:
        settings = services.settings
        services.batcher.terms = Terms(
            price=price,
            free_casts_per_month=settings.free_tier_runs_limit,
            billing_enabled=settings.stripe is not None,
            metered_limit_default_micros=settings.metered_limit_default_micros,
        )


def _lifespan(services: Services) -> Callable[[Litestar], Any]:
    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None]:
        async with services.app_pool, services.engine_pool:
            async with running(_background(services)):
                yield
                services.shutdown.begin()
            # The loops have stopped: what is left in line and for the wire is finished here, once.
            await services.batcher.close()
            await services.wire.drain()
            services.authenticator.close()
            if services.stripe is not None:
                await services.stripe.close()
            await services.redis.aclose()

    return lifespan
