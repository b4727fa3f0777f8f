"""Job edge: the streams broker, the cast actor, the jailed executor, and the ledger that settles what they report.

Worker processes hold no database, Stripe or signing credentials: everything a cast needs is in its message,
and what a worker says about a cast is a claim that `workers.ledger` checks.
"""
