"""From sources to a module: compilers, the manifest's place in a module, and what a folder of sources is.

The one builder: `spell build` uses it for a user's project, `spells.build` for the examples.
"""
