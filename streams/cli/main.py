"""The command line: a table of commands, of which only the one that is called is imported.

A row is a command's name, where it is found (`module:name`, a function or a group of commands)
and its line in `--help`. So `--help` and every command start fast, whatever the others import.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

import typer

from streams.cli.output import print_error
from streams.errors import OrderflowError


class Command(NamedTuple):
    """One row of the table."""

    name: str
    target: str
    help: str


COMMANDS = (
    Command("demo", "streams.cli.demo:demo", "Play real ticks and a mixed load of orders."),
    Command("up", "streams.cli.stack:up", "Start the whole pipeline on this machine."),
    Command("down", "streams.cli.stack:down", "Stop the pipeline; its data stays."),
    Command("status", "streams.cli.stack:status", "Show what runs."),
    Command("doctor", "streams.cli.stack:doctor", "Check what the pipeline needs on this machine."),
    Command("produce", "streams.cli.produce:app", "Publish a file of orders or ticks."),
    Command("allocate", "streams.cli.allocate:allocate", "Ask that positions become these."),
    Command("slice", "streams.cli.slice:app", "Send an order in slices over time."),
    Command("import", "streams.cli.importing:app", "Import market data, checked on the way."),
    Command("replay", "streams.cli.replaying:app", "Replay stored ticks; test strategies on them."),
    Command("topics", "streams.cli.topics:app", "List, create and describe the topics."),
    Command("table", "streams.cli.table:app", "Orders, positions, accounts, prices as they stand."),
    Command("chart", "streams.cli.chart:chart", "Draw bars and fills, here or as a page."),
    Command("query", "streams.cli.query:query", "Run a named query or a select."),
    Command(
        "migrate", "streams.cli.query:migrate", "Apply what is missing of ClickHouse's tables."
    ),
    Command("dead-letters", "streams.cli.dead_letters:app", "Records that could not be used."),
    Command("reconcile", "streams.cli.reconcile:reconcile", "Where brokers and we differ."),
    Command("config", "streams.cli.config:app", "Show the settings and where they come from."),
    Command("test", "streams.cli.test:test", "Run the checks and the tests."),
    Command("bench", "streams.cli.bench:bench", "Measure beside rivals, on this machine."),
    Command("worker", "streams.cli.worker:worker", "Run one worker of a role."),
    Command("setup", "streams.cli.setup:setup", "Create topics, first controls and tables."),
    Command("ready", "streams.cli.setup:ready", "Tell whether a role's worker is ready."),
    Command("tail", "streams.cli.tail:tail", "Print the records of a topic."),
    Command("rules", "streams.cli.rules:app", "List and set the controls of every kind."),
    Command("limits", "streams.cli.rules:limits_app", "List and set pre-trade limits."),
    Command("kill-switch", "streams.cli.rules:kill_switch", "Stop new orders, or let them pass."),
    Command("trading-state", "streams.cli.rules:trading_state", "Active, reducing or halted."),
)


def build(commands: Sequence[Command], called: str | None) -> typer.Typer:
    """Return the application with the called command in full and the others as lines of help."""
    app = typer.Typer(
        name="orderflow",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="A trading pipeline as a stream processor.",
    )
    app.callback()(_root)  # without it, a single command would become the whole application
    for command in commands:
        if command.name == called:
            _add(app, command)
        else:
            app.command(command.name, help=command.help)(_root)
    return app


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code; errors of ours go to standard error."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    called = next((word for word in arguments if not word.startswith("-")), None)
    try:
        build(COMMANDS, called)(arguments, prog_name="orderflow")
    except OrderflowError as error:
        print_error(error)
        sys.exit(error.exit_code)


def _add(app: typer.Typer, command: Command) -> None:
    module, _, name = command.target.partition(":")
    found = getattr(import_module(module), name)
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=command.name, help=command.help)
    else:
        app.command(command.name, context_settings=getattr(found, "context_settings", None))(found)


def _root() -> None:
    """Do nothing; the commands do."""
