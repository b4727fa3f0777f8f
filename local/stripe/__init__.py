"""A small Stripe: state, pages, webhooks, faults and a clock of its own, over HTTP, for `spell dev` and the tests.

It stands in for the real API of version `api.VERSION`: an unknown parameter is refused, every field of an answer exists
in stripe-python's resource classes, and what real Stripe would not do, it does not do. Start at `fake.FakeStripe`: its
docstring is the contract. `routes.ROUTES` is everything it answers, `jobs.JOBS` everything its clock does.
"""
