"""Every operation of the API, described once: signature, documentation, request and answer.

`spell.resources` and `spell.async_resources` list them for the two clients.
"""
