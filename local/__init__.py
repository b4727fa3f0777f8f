"""Stand-ins for the outside world, used by `spell dev` and the tests: embedded Postgres and Redis, run by our own launcher."""
