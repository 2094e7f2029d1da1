"""A strategy of another package that never returns: what it costs, and how it is got rid of."""

import os
import time
from pathlib import Path

from connectors.kafka.controls import publish_controls
from streams.models.controls import StrategyControl
from streams.settings import Settings
from tests.builders import SECOND, bar
from tests.stack.pipeline.running import Pipeline, set_up, settings_of
from tests.stack.plain import Raw, produce, read, wait_until
from tests.stack.workers import workers_of

CODE = """
from streams.domain.strategies.ma_cross import MaCross

class Hangs(MaCross):
    def on_bar(self, state, bar, context):
        while bar.close == 13:
            pass
        return super().on_bar(state, bar, context)
"""
WORDS = {"symbols": "AIG", "fast": 1, "slow": 2}
STRATEGIES = {
    "bad": {**WORDS, "implementation": "hangs"},
    "good": {**WORDS, "implementation": "ma_cross"},
}
BLOCKED = 70


def install(folder: Path) -> dict[str, str]:
    """Put a package with a strategy into a folder; return the environment that finds it."""
    info = folder / "hanging-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hanging\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[orderflow.strategies]\nhangs = hanging:Hangs\n")
    (folder / "hanging.py").write_text(CODE)
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path}


async def test_a_call_that_never_returns(stack: Settings, tmp_path: Path) -> None:
    """The watchdog ends the worker and says where; a control ends the strategy, others go on."""
    settings = settings_of(stack, tmp_path, "hangs").model_copy(
        update={"strategies": STRATEGIES, "watchdog_s": 2.0}
    )
    begin_ns = time.time_ns() - 3_600 * SECOND

    def raw(number: int, close: str) -> Raw:
        start = begin_ns + number * 60 * SECOND
        one = bar(close=close, ts_start_ns=start, ts_end_ns=start + 60 * SECOND)
        return Raw(one.model_dump_json().encode(), b"AIG")

    async def signals() -> set[bytes | None]:
        return {one.value for one in await read(settings, "signals.v1")}

    with workers_of(settings) as workers:
        pipeline = Pipeline(settings, workers)
        await set_up(settings)
        env = install(tmp_path / "site")
        worker = workers.start("market", env=env)
        await worker.ready()
        await produce(settings, "market.bars.v1", [raw(0, "50"), raw(1, "49"), raw(2, "52")])
        await wait_until(signals, lambda found: len(found) == 2)

        await produce(settings, "market.bars.v1", [raw(3, "13")])
        assert await worker.exit_code() == BLOCKED
        assert "hanging.py" in worker.log.read_text()
        await publish_controls(settings, [StrategyControl(scope="bad", enabled=False)])
        worker = workers.start("market", env=env)
        before = len(await signals())
        found = await wait_until(signals, lambda found: len(found) > before)
        assert sum(b'"good"' in (one or b"") for one in found) == len(found) - 1
        assert pipeline.running("market") == [worker]
