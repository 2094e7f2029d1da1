"""What can go wrong around a worker, the same for ours and for one on stock Faust.

Both send through aiokafka, so a broker that is slow, or takes nothing for a topic, is put there:
the Kafka that all tests share comes to no harm.

    ORDERFLOW_TEST_SLOW    seconds that each produce request takes longer
    ORDERFLOW_TEST_MUTED   a file that names a topic: while it exists, nothing is sent there
"""

import asyncio
import base64
import os
import random
import time
from pathlib import Path
from typing import Any

from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.producer.sender import Sender

SLOW = "ORDERFLOW_TEST_SLOW"
MUTED = "ORDERFLOW_TEST_MUTED"
#: A file; while it exists, an agent is held up on partition 0.
HOLD = "ORDERFLOW_TEST_HOLD"

#: More than a topic takes in one record, compressed or not.
LARGE = base64.b85encode(random.Random(1).randbytes(1_200_000)).decode()
#: Four of them fill a record batch of a producer as it is by default.
FAT = "x" * 4_000


def wait_while_held() -> None:
    """Block as long as the file is there that holds agents up."""
    while HOLD in os.environ and Path(os.environ[HOLD]).exists():
        time.sleep(0.02)


def install() -> None:
    """Take up the faults that the environment asks for."""
    if SLOW in os.environ:
        _slow_down(float(os.environ[SLOW]))
    if MUTED in os.environ:
        _mute(Path(os.environ[MUTED]))


def _slow_down(seconds: float) -> None:
    send = Sender._send_produce_req

    async def send_late(self: Any, *args: Any) -> None:
        await asyncio.sleep(seconds)
        await send(self, *args)

    Sender._send_produce_req = send_late


def _mute(file: Path) -> None:
    drain = MessageAccumulator.drain_by_nodes

    def drain_others(self: Any, ignore_nodes: Any, muted_partitions: Any = frozenset()) -> Any:
        if file.exists():
            topic = file.read_text()
            muted_partitions = muted_partitions | {tp for tp in self._batches if tp.topic == topic}
        return drain(self, ignore_nodes, muted_partitions)

    MessageAccumulator.drain_by_nodes = drain_others
