"""The user's commands, one file for each group: parse what was typed, ask the SDK, show the answer.

No HTTP is spoken here. A command prints its result on standard output and everything else on standard error.
"""
