"""How many requests of the caller's minute one request of a route is; a route that says nothing is one.

The default rate is 60 a minute, so that a weight of 20 allows three at once and then one in twenty seconds. A rate
below the weight allows one request for the whole of it.
"""

from typing import Final

# A module is compiled and checked in a process of its own, for up to seconds of a core.
PUBLISH: Final = 10
# Whole modules and whole months leave the database in one answer.
DOWNLOAD: Final = 5
EXPORT: Final = 20
# Reads and adds up a month of counters where other reads take a row or a page.
SUM_UP: Final = 2
# Makes somebody else's server hear from us, or a person get mail.
REACH_OUT: Final = 5
# Begins or ends a login: writes a row for somebody who may be nobody, asks somebody else's server, bounds guessing.
LOGIN: Final = 3
# A new secret is hashed with Argon2.
NEW_SECRET: Final = 2

# Of one address, for pages, scripts and styles: a page is a handful of them, a login several in a row, and neither must
# use up what the address may ask of the api.
PAGES_RPM: Final = 300
# Of one address: browsers ask before the first request of a page to each path, whatever its key's rate.
PREFLIGHTS_RPM: Final = 300
