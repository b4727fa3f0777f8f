"""Redis Streams as a Dramatiq broker, and the wire around it.

`streams` is the broker; `entries` what it holds, `consumer` how entries come in, `flusher` how they end, `beat` how
they stay ours, `suspects` and `hooks` what runs alone or not at all. `wire` is the asynchronous side for api, ledger
and scheduler. Only `link` touches a connection, only `replies` a raw reply, only `workers.keys` spells a key.
"""

from workers.broker.encoder import MsgpackEncoder
from workers.broker.streams import StreamsBroker

__all__ = ["MsgpackEncoder", "StreamsBroker"]
