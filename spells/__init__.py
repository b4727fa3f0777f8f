"""Example spells, their sources and their built modules.

Each folder is one spell: source, `spell.json` (the manifest) and a README. `python -m spells.build` turns them into
`built/<name>.wasm`, bit for bit the same everywhere, with the manifest embedded. Nothing here is imported by the
platform, and no spell may need more of the host than ABI v1: stdin, stdout, stderr, an exit code.
"""
