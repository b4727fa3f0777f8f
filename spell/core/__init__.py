"""The SDK without I/O: requests, retries, pages and event streams as plain data and generators.

`Client` and `AsyncClient` only send what this says and sleep as long as it says, so each rule exists once.
"""
