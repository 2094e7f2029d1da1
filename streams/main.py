"""Start a worker process: logging, event loop, Faust."""

import gc
import logging
import sys
from typing import Any, cast

import faust
import structlog

from streams import defences
from streams.app import App, build_app
from streams.services import Services
from streams.settings import Settings
from streams.wiring import Role


class Worker(faust.Worker):
    """Faust's worker, whose orderly end has a bound from the moment it is asked for."""

    def _schedule_shutdown(self, signal: Any) -> None:
        cast(App, self.app).watchdog.stopping()
        super()._schedule_shutdown(signal)


def run(settings: Settings, role: Role) -> None:
    """Run a worker until a signal stops it."""
    configure_logging(settings.log_level)
    tune()
    if off := defences.switch_off(settings.test_without):
        structlog.get_logger(__name__).warning("running_without_defences", off=sorted(off))
    app = build_app(settings, role, Services(settings, role))
    worker = Worker(
        app,
        loglevel=settings.log_level.upper(),
        logging_config=_logging_config(settings.log_level),
        redirect_stdouts=False,
        quiet=True,
    )
    worker.execute_from_commandline()


def tune() -> None:
    """Collect garbage less often, and use uvloop where it is installed (not on Windows).

    A batch makes thousands of objects that live as long as it does, and hardly any cycles.
    Collecting at Python's own thresholds took a tenth of a worker's time, and a full collection
    blocked its loop for a tenth of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)
    try:
        import uvloop
    except ImportError:
        return
    uvloop.install()


def configure_logging(level: str) -> None:
    """Send our events through the standard library: JSON lines, or columns on a terminal."""
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=level.upper())


def _logging_config(level: str) -> dict[str, object]:
    renderer = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    shared = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "ours": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    renderer,
                ],
                "foreign_pre_chain": shared,
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "ours"}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
        "loggers": {
            # One line per rebalance step and per agent is noise to an operator.
            "mode": {"level": "WARNING"},
            "faust": {"level": "WARNING"},
            "aiokafka": {"level": "ERROR"},
            "aiohttp.access": {"level": "WARNING"},
        },
    }
