"""Quix Streams: a stateful `apply` over bytes, RocksDB state with a changelog topic.

Its defaults, but for an idempotent producer with acks of all replicas, which librdkafka has.
State changes reach its changelog when it commits, every 5 s. One process runs all hops, as one
application with a dataframe for each.
"""

import os
from typing import Any

from quixstreams import Application  # type: ignore[import-not-found] # the rivals have it

from benchmarks import job
from benchmarks.job import Chain


def _hop(app: Any, source: str, target: str, *, state: bool) -> None:
    """Add one hop to the application."""
    raw = {"key_deserializer": "bytes", "value_deserializer": "bytes"}
    out = app.topic(target, key_serializer="bytes", value_serializer="bytes")
    frame = app.dataframe(app.topic(source, **raw))

    def count(value: bytes, kept: Any) -> bytes:
        found = kept.get("totals")
        known = job.decode_totals(None if found is None else found.encode())
        checked, totals = job.apply(job.decode(value), known)
        if totals is not known:
            kept.set("totals", job.encode(totals).decode())
        return job.encode(checked)

    def check(value: bytes) -> bytes:
        return job.encode(job.apply(job.decode(value), job.NOTHING)[0])

    frame = frame.apply(count, stateful=True) if state else frame.apply(check)
    frame.to_topic(out)


def main() -> None:
    """Run the chain until a signal ends it."""
    chain = Chain.from_environment()
    guarantee = "exactly-once" if "ORDERFLOW_BENCH_EXACTLY_ONCE" in os.environ else "at-least-once"
    session = {"session.timeout.ms": round(chain.session_s * 1_000)} if chain.session_s else {}
    safe = {"enable.idempotence": True, "acks": "all"}
    app = Application(
        broker_address=chain.bootstrap,
        consumer_group=chain.group,
        auto_offset_reset="earliest",
        state_dir=chain.folder,
        loglevel="WARNING",
        consumer_extra_config=session,
        processing_guarantee=guarantee,
        producer_extra_config=safe | ({"linger.ms": 0} if chain.eager else {}),
    )
    for source, target in chain.hops:
        _hop(app, source, target, state=chain.state)
    app.run()


if __name__ == "__main__":
    main()
