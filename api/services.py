"""Everything a handler may use, made once per process and handed to handlers by name."""

from collections.abc import Callable
from datetime import datetime

import msgspec
from redis.asyncio import Redis

from api.access_log import Log
from api.admission.batcher import Batcher
from api.admission.rate import RateLimiter
from api.admission.waiting import Waiting
from api.admission.wire import Wire
from api.auth import Authenticator
from api.billing.fees import Fees
from api.budgets.board import BudgetBoard
from api.casts.reader import CastReader
from api.casts.signing import Quotes, Receipts
from api.operator.metrics import Metrics
from api.operator.probes import Probes
from api.operator.sampler import Sampler
from api.proxies import Proxies
from api.sessions.known import Sessions
from api.shutdown import Shutdown
from api.spells.catalog import Catalog
from api.spells.publishing import Publisher
from api.strangers import Strangers
from api.web_safety import Site
from api.webhooks.followers import Followers
from domain.model.plans import PlanPrices
from domain.settings import ApiSettings
from domain.store.connection import Pool
from gateways.github import Github
from gateways.oidc import OidcProvider
from gateways.stripe.client import StripeGateway


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of the api process. Handlers ask for it as the dependency `services`."""

    settings: ApiSettings
    app_pool: Pool
    """Role.APP: one account's rows, through `account_transaction`."""
    engine_pool: Pool
    """Role.ENGINE: across accounts, through `transaction`."""
    redis: Redis
    catalog: Catalog
    publisher: Publisher
    authenticator: Authenticator
    sessions: Sessions
    site: Site
    github: Github | None
    """None: nobody signs in there."""
    oidc: OidcProvider | None
    stripe: StripeGateway | None
    """None: billing is off."""
    plan_prices: PlanPrices
    fees: Fees | None
    """What the plans cost at Stripe; None as above."""
    limiter: RateLimiter
    budget_board: BudgetBoard
    batcher: Batcher
    quotes: Quotes
    receipts: Receipts
    waiting: Waiting
    wire: Wire
    casts: CastReader
    sampler: Sampler
    probes: Probes
    shutdown: Shutdown
    followers: Followers
    metrics: Metrics
    log: Log
    proxies: Proxies
    strangers: Strangers
    clock: Callable[[], float]
    """Seconds that never go back."""
    now: Callable[[], datetime]
    """The wall clock, in UTC."""
