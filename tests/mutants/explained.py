"""Mutants that no test can notice, each with the reason: what they do is the same, or is made sure of elsewhere."""

EXPLAINED: dict[str, str] = {}
