"""Billing over HTTP: plans, how the account pays, Stripe's pages, and where Stripe tells its news."""
