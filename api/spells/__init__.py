"""Publishing and the store: routes, upload, the way of a module to a version, and the catalog casts resolve by."""
