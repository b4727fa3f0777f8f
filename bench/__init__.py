"""Benchmarks against peers: ours and the other, alternately, on the same cores of the same machine, in one run.

A row is a file (`accepts`, `end_to_end`); `generator` makes the load, `report` writes what was measured.
What counts is the ratio: both sides meet whatever else the machine is doing.
"""
