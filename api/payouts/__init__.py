"""Payouts over HTTP: a creator's account at Stripe, what was paid, and the page for both.

Who holds a link to Stripe's pages says where the money goes: they are opened for a session alone, never for a key.
"""
