"""The outbox of money at work: rows are claimed, sent to Stripe step by step, and ended. Any number may run.

To add a kind: its name in `domain.model.outbox.OutboxKind`; a frozen struct of what it is about and a flow that writes
the row with `put_out` in the transaction that decides it; a file here with its steps (`send` asks Stripe under the key
it gets, with the row's id in the metadata; `look` finds what `send` made); a flow that applies its end; and one line in
`kinds.KINDS`. Run by the scheduler, not the courier: that one talks to strangers' addresses and holds no key of Stripe.
"""
