"""API keys over HTTP: what is sent and shown, and the routes under /v1/keys and /api/keys."""
