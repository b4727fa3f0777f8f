"""Numbered SQL files, each with an up and a down part, and the runner that applies them."""
