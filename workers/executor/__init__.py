"""Runs one WASM module at a time in a jailed child process. The only folder that imports `wasmtime`.

`parent` drives a child over a socketpair; `child` is the program `python -m workers.executor`;
`compile` is the separate, limited program that validates and compiles at publish.
"""
