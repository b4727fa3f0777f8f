"""A package, so that pytest ends what has package scope with the last test of this folder."""
