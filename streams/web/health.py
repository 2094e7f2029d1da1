"""Liveness and readiness of a worker."""

import asyncio
from typing import Any

from streams import clock

#: How long the liveness probe sleeps to see how late the loop wakes it.
PROBE_S = 0.01


async def live() -> dict[str, Any]:
    """Return how many milliseconds the event loop is behind."""
    began = clock.monotonic()
    await asyncio.sleep(PROBE_S)
    lag = clock.monotonic() - began - PROBE_S
    return {"status": "alive", "loop_lag_ms": round(max(lag, 0.0) * 1000, 3)}


def ready_report(app: Any) -> dict[str, Any]:
    """Return whether a worker does its work, and what it waits for if it does not."""
    checks = {
        "rules and prices read": app.services.started,
        "partitions assigned": _has_partitions(app),
        "tables restored": app.tables.recovery.completed.is_set(),
        "no rebalance": not app.rebalancing,
    }
    return {
        "ready": all(checks.values()),
        "waiting_for": [name for name, passed in checks.items() if not passed],
        "role": app.services.role,
        "controls_version": app.services.controls.version,
        "redis": "away" if app.services.cache.away else "reached or not asked",
        "agents": {
            runner.name: {
                "records": runner.records,
                "redelivered": runner.redelivered,
                "undecodable": runner.rejected,
                "waits_for": runner.waits_for,
            }
            for runner in app.batched.runners
        },
    }


def _has_partitions(app: Any) -> bool:
    client = app.consumer._thread._consumer
    return client is not None and bool(client.assignment())
