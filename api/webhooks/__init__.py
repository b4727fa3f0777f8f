"""Webhooks over HTTP: endpoints, their secrets, what was sent to them, and an account's events to follow."""
