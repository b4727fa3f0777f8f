"""Credits over HTTP: packages, balance, history, orders, what services take, automatic top-up; as AuthorWorks had them.

Amounts are credits and, beside them, `*_micros`, which are exact: casts cost parts of a credit.
"""
