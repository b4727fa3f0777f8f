"""Stand-ins for the outside world, used by `spell dev` and the tests.

Postgres and Redis are embedded: the binaries of two wheels, started by our own launcher, leaving nothing but DIR.
"""
