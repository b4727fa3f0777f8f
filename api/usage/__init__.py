"""Usage over HTTP: the month so far, six months, by spell, key or day, and every cast as CSV or JSON."""
