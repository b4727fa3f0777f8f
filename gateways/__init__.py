"""The only modules that import an outside vendor. Used by edges, never by `domain`."""
