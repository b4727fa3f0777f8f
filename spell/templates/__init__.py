"""The projects `spell init` begins with: `shared` for all, and a folder for each language.

In a file `*.template` the words `@name@`, `@fuel@` and `@memory_bytes@` are filled in; the ending is left off.
"""
