"""What users install: the SDK and the user's part of the `spell` program. HTTP only; imports nothing of the server.

from spell import Client

with Client() as client:  # SPELL_API_KEY and SPELL_URL
    print(client.cast("ada/wordcount@1", "to be or not to be").result())
"""

from spell import receipts, webhooks
from spell.async_client import AsyncClient
from spell.client import Client
from spell.errors import (
    ApiError,
    BudgetExceeded,
    BudgetLimit,
    CastFailed,
    CastNotFinished,
    Conflict,
    ConnectionFailed,
    Fault,
    Forbidden,
    FreeTierExhausted,
    IdempotencyKeyReused,
    InsufficientCredits,
    MissingApiKey,
    MoneyError,
    NotFound,
    OutcomeUnknown,
    OutputMissing,
    PaymentRequired,
    PriceChanged,
    QuoteExpired,
    RateLimited,
    ReceiptInvalid,
    ServerBusy,
    SignatureInvalid,
    SpellError,
    SpendPaused,
    TestAllowanceExhausted,
    TimedOut,
    TooManyOpenCasts,
    Unauthorized,
    UnexpectedAnswer,
    ValidationError,
    WaitTimedOut,
)
from spell.models.casts import BatchVerdict, Cast, CastEvent, CastRequest, Limits
from spell.models.keys import KeyBudget
from spell.models.webhooks import WebhookEvent

__all__ = [
    "ApiError",
    "AsyncClient",
    "BatchVerdict",
    "BudgetExceeded",
    "BudgetLimit",
    "Cast",
    "CastEvent",
    "CastFailed",
    "CastNotFinished",
    "CastRequest",
    "Client",
    "Conflict",
    "ConnectionFailed",
    "Fault",
    "Forbidden",
    "FreeTierExhausted",
    "IdempotencyKeyReused",
    "InsufficientCredits",
    "KeyBudget",
    "Limits",
    "MissingApiKey",
    "MoneyError",
    "NotFound",
    "OutcomeUnknown",
    "OutputMissing",
    "PaymentRequired",
    "PriceChanged",
    "QuoteExpired",
    "RateLimited",
    "ReceiptInvalid",
    "ServerBusy",
    "SignatureInvalid",
    "SpellError",
    "SpendPaused",
    "TestAllowanceExhausted",
    "TimedOut",
    "TooManyOpenCasts",
    "Unauthorized",
    "UnexpectedAnswer",
    "ValidationError",
    "WaitTimedOut",
    "WebhookEvent",
    "receipts",
    "webhooks",
]
