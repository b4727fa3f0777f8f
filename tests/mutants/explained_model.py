"""Mutants of the rules that no test should notice, each with the reason."""

EXPLAINED: dict[str, str] = {}
