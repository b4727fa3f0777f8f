"""Stripe. The only code that imports its library; one file per family of its objects, all of them on StripeGateway.

A method is one request: typed arguments in, a frozen struct of `domain.model.stripe_objects` out. What changes
something at Stripe takes a `key` (Idempotency-Key); nothing is repeated here, because the rows of ours that ask repeat.
Every failure is one of the three errors of `errors`, none of which shows a secret.

To add a family: a class with `Link` in a new file, its attribute in `client.StripeGateway`, a struct for its answer.
"""
