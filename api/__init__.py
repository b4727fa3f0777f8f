"""HTTP edge: parse, identify the caller, call one flow, render.

A handler opens the transaction and commits it; rules about money or state live in `domain`.
Of the workers this package knows only `workers.broker` and `workers.keys`.
"""
