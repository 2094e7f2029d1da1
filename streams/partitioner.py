"""Which partition a key belongs to: the choice that every Kafka client makes."""

from functools import lru_cache

from aiokafka.partitioner import murmur2


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key: murmur2 without its sign, modulo the partitions."""
    return (int(murmur2(key)) & 0x7FFFFFFF) % partitions
