"""The inbox of Stripe's news at work: events are taken, their objects fetched, and what these say is applied.

The api only keeps events; here they are worked on. Any number may run: an event is taken under a lease, and what is
applied is the object as it is now, so that duplicates, any order and two at once end in the same state. Run by the
scheduler, not the courier: that one talks to strangers' addresses and holds no key of Stripe.

To add a type of event: a flow in `domain.flow` that applies the fetched object (it takes a connection, may run twice
and ignores what is not ours), a `Look` in a file here that fetches it, and a line for each type in `table.FLOWS`.
"""
