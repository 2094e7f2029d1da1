"""How a Faust app is run to be measured: quietly, ours and the stock one alike."""

import logging
import sys
from typing import Any

import faust


def run(app: Any) -> None:
    """Run the app until a signal ends it."""
    logging.getLogger("aiokafka").setLevel("ERROR")  # as `streams/main.py` has it
    sys.argv = sys.argv[:1]
    faust.Worker(
        app, loglevel="WARNING", quiet=True, redirect_stdouts=False
    ).execute_from_commandline()
