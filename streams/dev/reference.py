"""Write the reference pages and JSON Schemas from the code they describe, or check them.

`python -m streams.dev.reference` writes, `--check` lists what is out of date and exits with 1.
"""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from connectors.clickhouse.queries import USER_FOLDERS, NamedQuery, load
from streams.cli.config import settings_markdown
from streams.dev.reference_cli import cli
from streams.domain.dead_letter_codes import DEAD_LETTER_CODES, REDRIVE_CODES
from streams.domain.order_table import STATUS_RULES
from streams.domain.order_transitions import TRANSITIONS
from streams.domain.refusals import GUIDE
from streams.errors import OrderflowError
from streams.models.orders import TERMINAL, EventType, OrderStatus
from streams.topics import TOPICS
from streams.topology import mermaid
from streams.wiring import AGENTS, TABLES

ROOT = Path(__file__).parent.parent.parent
NOTE = "<!-- Made by `python -m streams.dev.reference`; change the code, not this page. -->\n\n"


def rows(header: Iterable[str], body: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    names = list(header)
    lines = [names, ["---"] * len(names)] + [[_cell(value) for value in row] for row in body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def topics() -> str:
    """Return the page of the topics."""
    table = rows(
        ("Topic", "Key", "One record is", "Written by", "Kept"),
        (
            (
                f"[`{topic.name}`](../schemas/{topic.name}.json)"
                if topic.value is not None
                else f"`{topic.name}`",
                topic.key,
                topic.doc,
                topic.written_by,
                "newest per key" if topic.cleanup == "compact" else f"{topic.retention_days} days",
            )
            for topic in TOPICS
        ),
    )
    sections = "".join(f"\n## {topic.name}\n\n{topic.doc}\n" for topic in TOPICS)
    return f"# Topics\n\n{table}{sections}"


def tables() -> str:
    """Return the page of the tables."""
    sections = "".join(
        f"\n## {table.name}\n\n{table.doc}\n\n"
        f"- Key: `{table.key}`\n- Written by: {table.written_by}\n"
        f"- Changelog: `{table.changelog()}`\n- Bound: {table.bound}\n"
        for table in TABLES
    )
    return f"# Tables\n\nWhat the agents remember; each table has one writer.\n{sections}"


def topology() -> str:
    """Return the page of the agents."""
    table = rows(
        ("Agent", "Role", "Reads", "Follows whole", "Writes", "Table", "What it does"),
        (
            (
                spec.name,
                spec.role,
                "every topic" if spec.name == "history" else _names(spec.reads),
                _names(spec.watches),
                _names(spec.writes),
                spec.table.name if spec.table else "",
                spec.doc,
            )
            for spec in AGENTS
        ),
    )
    return f"# Agents\n\n{table}\n```mermaid\n{mermaid()}\n```\n"


def _names(specs: Iterable[object]) -> str:
    return ", ".join(getattr(spec, "name", "") for spec in specs)


def refusals() -> str:
    """Return the page of the refusal codes."""
    table = rows(
        ("Code", "Meaning", "What to do"),
        ((f"`{code}`", guide.meaning, guide.action) for code, guide in GUIDE.items()),
    )
    return (
        "# Refusals\n\nA refused command is an event on `orders.events` with one of these codes, "
        f"the limit, the actual value and the version of the rule.\n\n{table}"
    )


def errors() -> str:
    """Return the page of errors, exit codes and dead-letter codes."""
    classes: list[type[OrderflowError]] = [OrderflowError, *_subclasses(OrderflowError)]
    exits = rows(
        ("Error", "Exit code", "What to do"),
        (
            (f"`{one.__name__}`", one.exit_code, " ".join((one.__doc__ or "").split()))
            for one in classes
        ),
    )
    letters = rows(
        ("Code", "Meaning"), ((f"`{code}`", text) for code, text in DEAD_LETTER_CODES.items())
    )
    redrives = rows(
        ("Code", "Meaning"), ((f"`{code}`", text) for code, text in REDRIVE_CODES.items())
    )
    return (
        f"# Errors\n\n## Of the command line\n\n{exits}\n0 is success; 130 is Ctrl-C.\n"
        f"\n## Of records: dead letters\n\n`./orderflow dead-letters list` shows them.\n\n{letters}"
        "\n`CONFLICT`, one of the [refusals](refusals.md), comes here too: an order at the venue"
        " whose id another order has taken.\n"
        "\n## Of dead letters: why one is not sent again\n\n"
        f"`./orderflow dead-letters retry` says so.\n\n{redrives}"
    )


def _subclasses(base: type[OrderflowError]) -> list[type[OrderflowError]]:
    found: list[type[OrderflowError]] = []
    for one in base.__subclasses__():
        if one.__module__ == "streams.errors":
            found += [one, *_subclasses(one)]
    return found


def settings() -> str:
    """Return the page of the settings."""
    return (
        "# Settings\n\nFirst to last: an option of the command, the environment, `orderflow.toml`, "
        f"the default.\n\n{settings_markdown()}"
    )


def order_states() -> str:
    """Return the page of the order statuses: what decides them, and what events lead to."""
    rules = rows(
        ("Status", "Over", "Why it stands here"),
        ((f"`{rule.status}`", _yes(rule.status in TERMINAL), rule.why) for rule in STATUS_RULES),
    )
    sections = "".join(_transitions(status) for status in OrderStatus)
    return (
        "# Order states\n\nThe status is not stepped from event to event: it follows from all that"
        " is known of the order, by the first row here that holds. So the order in which events"
        f" arrive does not matter.\n\n## What decides\n\n{rules}\n## What events lead to\n\n"
        "What the rules above come to, status by status; a test walks every cell. An event that is"
        " not listed under a status is late or contradictory there: it is remembered, and the"
        " status stays. *Odd*: only events that came late, or a venue that contradicts itself.\n"
        f"{sections}"
    )


def _transitions(status: OrderStatus) -> str:
    ordinary = "late or contradictory; the status stays"
    cells = [(event, TRANSITIONS[status, event]) for event in EventType]
    table = rows(
        ("Event", "Leads to", "Odd", "Note"),
        (
            (
                f"`{event}`",
                ", ".join(f"`{to}`" for to in sorted(cell.to)),
                _yes(not cell.expected),
                cell.note,
            )
            for event, cell in cells
            if cell.expected or cell.note != ordinary
        ),
    )
    return f"\n### {status}\n\n{table}"


def _yes(holds: bool) -> str:
    return "yes" if holds else ""


def queries() -> str:
    """Return the page of the named queries and checks."""
    named = load(*USER_FOLDERS).values()
    return (
        "# Queries\n\n`./orderflow query NAME -p name=value` runs one; `--json` and `--csv` choose"
        " the form. A parameter with an empty default restricts nothing while it is empty. `since`"
        " is inclusive, `until` exclusive; both are UTC, as `2026-11-21` or `2026-11-21T09:30:00Z`,"
        " in `pnl_by_symbol_day` dates alone. What begins with `check_` returns no row while all"
        " is well.\n" + "".join(_query(query) for query in named)
    )


def _query(query: NamedQuery) -> str:
    table = rows(
        ("Parameter", "Default"),
        (
            (f"`{name}`", "must be given" if default is None else f"`{default}`" if default else "")
            for name, default in query.params.items()
        ),
    )
    return f"\n## {query.name}\n\n{query.doc}\n" + (f"\n{table}" if query.params else "")


PAGES: dict[str, Callable[[], str]] = {
    "docs/reference/topics.md": topics,
    "docs/reference/tables.md": tables,
    "docs/reference/topology.md": topology,
    "docs/reference/refusals.md": refusals,
    "docs/reference/errors.md": errors,
    "docs/reference/settings.md": settings,
    "docs/reference/cli.md": cli,
    "docs/reference/order-states.md": order_states,
    "docs/reference/queries.md": queries,
}


def files() -> dict[str, str]:
    """Return every generated file's content, by its path in the repository."""
    pages = {path: NOTE + make() for path, make in PAGES.items()}
    schemas = {
        f"docs/schemas/{topic.name}.json": json.dumps(
            {"$id": topic.name, **topic.adapter.json_schema()}, indent=2, ensure_ascii=False
        )
        + "\n"
        for topic in TOPICS
        if topic.value is not None
    }
    return pages | schemas


def out_of_date() -> list[str]:
    """Return the generated files that do not say what the code says."""
    return [
        path
        for path, text in files().items()
        if not (ROOT / path).is_file() or (ROOT / path).read_text("utf-8") != text
    ]


def main() -> int:
    """Write, or with `--check` compare."""
    stale = out_of_date()
    if "--check" in sys.argv[1:]:
        for path in stale:
            sys.stderr.write(f"{path} is out of date; run python -m streams.dev.reference\n")
        return 1 if stale else 0
    for path in stale:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(files()[path], "utf-8")
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
