"""The courier: sends what rows of `outgoing` say, webhooks and mail; any number may run.

A row is taken under a lease in one short transaction and recorded in another; no transaction is open meanwhile. What
a courier that died was sending is due again when its lease ends: it may arrive twice, with the same id.
"""
