"""The errors Orderflow raises, sorted by what the caller can do.

Each class's docstring is its advice: it is printed under the message by the command line and
stands in `docs/reference/errors.md`. `exit_code` is what `./orderflow` returns for it.
"""


class OrderflowError(Exception):
    """Something went wrong that has no more specific advice; see the log."""

    exit_code = 1

    @property
    def advice(self) -> str:
        """Return what to do about it."""
        return " ".join((type(self).__doc__ or "").split())


class UsageError(OrderflowError):
    """Correct the command and run it again; `--help` lists what it takes."""

    exit_code = 2


class NotFoundError(OrderflowError):
    """Nothing of that name exists; check the name, or list what there is."""

    exit_code = 3


class StackError(OrderflowError):
    """Run `./orderflow doctor`; it names what the embedded stack is missing."""

    exit_code = 4


class PortInUseError(StackError):
    """Stop the program on that port, or choose another one with the setting that is named."""


class DiskFullError(StackError):
    """Free some space, or keep the data elsewhere with ORDERFLOW_DATA_DIR."""


class LowMemoryError(StackError):
    """Close other programs, or give Kafka less with ORDERFLOW_KAFKA_HEAP (at least 256m)."""


class DataInUseError(StackError):
    """Stop the other pipeline with `./orderflow down`, or choose another ORDERFLOW_DATA_DIR."""


class ServiceFailedError(StackError):
    """Read the log that is named; `./orderflow doctor` checks what the service needs."""


class DownloadError(StackError):
    """Check the network and run the command again; what was downloaded already is kept."""


class ServiceUnavailableError(OrderflowError):
    """Start the pipeline with `./orderflow up`, or correct the address in the settings."""

    exit_code = 5


class IncompleteError(OrderflowError):
    """Not every record is accounted for; `./orderflow dead-letters list` and the log tell why."""

    exit_code = 6


class InfrastructureError(OrderflowError):
    """Kafka, the disk or the state store failed; the supervisor restarts the worker."""

    exit_code = 70
