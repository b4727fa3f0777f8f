"""The pages of the stand-in: what a customer sees at Stripe, and an operator's view of everything."""

from local.stripe.pages.site import Ask, Page, Pages

__all__ = ["Ask", "Page", "Pages"]
