"""How long what a cast read and wrote is kept."""

from typing import Final

# 0: until the first answer that shows it, and a day where nobody asks.
DATA_DAYS_DEFAULT: Final = 30
DATA_DAYS_MAX: Final = 90
