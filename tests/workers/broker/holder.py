"""A worker process that takes casts, says so, and never finishes one. Run by test_delivery, which kills it."""

import signal
import sys
from pathlib import Path

import dramatiq

sys.path.insert(0, str(Path.cwd()))

from tests.workers.broker.pools import consume, lost_event, take
from workers.broker import MsgpackEncoder, StreamsBroker

dramatiq.set_encoder(MsgpackEncoder())
broker = StreamsBroker(sys.argv[1], metered={"default": lost_event})
broker.declare_queue("default")
take(consume(broker), 2)
sys.stdout.write("holding\n")
sys.stdout.flush()
signal.pause()
