"""What the product is: `flow` (verbs that take a connection and `now`, never commit), `store` (SQL), `model` (pure).

Imports point one way: flow -> store -> model. No framework or vendor is known here but msgspec and, in `store`,
psycopg.
"""
