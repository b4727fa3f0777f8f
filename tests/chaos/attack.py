"""A client that sends more than it may, whatever the answers are: a process of its own, so that it shares no clock's.

It takes a Wave as JSON in the first line of standard input, says `ready` when it has connected, attacks from then until
standard input ends, and prints an Answered.
"""

import asyncio
import sys
import time
from collections import Counter

import msgspec
import uvloop


class Wave(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent: `request` on each of the connections, which begin together, once in `interval_seconds`."""

    port: int
    request: bytes
    connections: int
    interval_seconds: float


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """How many answers had which status, in how long."""

    statuses: dict[int, int]
    seconds: float


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _send(connection: Connection, wave: Wave, over: asyncio.Event, statuses: Counter[int]) -> None:
    reader, writer = connection
    due = time.monotonic()
    while not over.is_set():
        writer.write(wave.request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        statuses[int(head[9:12])] += 1
        due += wave.interval_seconds
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    writer.close()
    await writer.wait_closed()


async def attack(wave: Wave) -> Answered:
    """Attack until standard input ends."""
    connections = [await asyncio.open_connection("127.0.0.1", wave.port) for _ in range(wave.connections)]
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), over.set)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    started, statuses = time.monotonic(), Counter[int]()
    await asyncio.gather(*(_send(connection, wave, over, statuses) for connection in connections))
    return Answered(statuses=dict(statuses), seconds=time.monotonic() - started)


if __name__ == "__main__":
    answered = uvloop.run(attack(msgspec.json.decode(sys.stdin.buffer.readline(), type=Wave)))
    sys.stdout.buffer.write(msgspec.json.encode(answered))
