"""What is the same on every route of Stripe's API."""

from typing import Final

VERSION: Final = "2026-10-28.endive"
DAY_S: Final = 86_400
HOUR_S: Final = 3_600
# Stripe keeps what an idempotency key was answered for a day.
KEY_LIFE_S: Final = DAY_S
# Events can be fetched for thirty days.
EVENT_LIFE_S: Final = 30 * DAY_S
PAGE_SIZE_DEFAULT: Final = 10
PAGE_SIZE_MAX: Final = 100
# The smallest charge in US dollars, the only currency here.
CHARGE_CENTS_MIN: Final = 50
CHARGE_CENTS_MAX: Final = 99_999_999
CURRENCY: Final = "usd"
# How many lines of an invoice its answer shows; the others are listed apart.
LINES_SHOWN: Final = 10
