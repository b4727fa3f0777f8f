"""Invoices over HTTP: what was billed, what will be, and the casts behind every line."""
