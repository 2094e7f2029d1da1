"""`topics`: what topics there are, creating those that are missing, and how one is set."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from connectors.kafka.admin import TopicState
    from streams.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The topics: list, create what is missing, describe.")

JsonOpt = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_topics(as_json: JsonOpt = False) -> None:
    """List the pipeline's topics and the tables' changelogs, and how they stand in Kafka."""
    import asyncio

    from connectors.kafka.admin import describe_topics
    from streams.cli.output import emit
    from streams.settings import Settings
    from tables.registry import TABLES

    emit([_row(state) for state in asyncio.run(describe_topics(Settings(), TABLES))], as_json)


@app.command()
def apply(as_json: JsonOpt = False) -> None:
    """Create what is missing and wait until every partition has a leader.

    Nothing is deleted or changed: a topic whose settings differ from the registry is named on
    standard error and stays as it is. Exit code 2: topics that must have equal partition counts
    have not.
    """
    import asyncio

    from connectors.kafka.admin import apply_topics
    from streams.cli.output import emit
    from streams.settings import Settings
    from tables.registry import TABLES

    states = asyncio.run(apply_topics(Settings(), TABLES))
    emit([_row(state) for state in states], as_json)
    for state in states:
        for difference in state.differences:
            typer.echo(f"{state.name}: {difference}; left as it is", err=True)


@app.command()
def describe(
    topic: Annotated[str | None, typer.Argument(help="One topic; all without it.")] = None,
    as_json: JsonOpt = False,
) -> None:
    """Show a topic's key, writer, partitions and settings, and where it differs."""
    import asyncio

    from connectors.kafka.admin import describe_topics
    from streams.cli.output import emit
    from streams.errors import NotFoundError
    from streams.settings import Settings
    from tables.registry import TABLES

    settings = Settings()
    states = asyncio.run(describe_topics(settings, TABLES))
    name = resolve(topic, settings) if topic else None
    found = [_details(state) for state in states if name in (None, state.name)]
    if not found:
        raise NotFoundError(f"{topic} is none of the pipeline's topics; see `topics list`")
    emit(found[0] if topic else found, as_json)


def resolve(name: str, settings: "Settings") -> str:
    """Return a topic's name in Kafka: `orders.events` and `orders.events.v1` are the same.

    A name that is in no registry is taken as it stands, so that any topic can be read.
    """
    from connectors.kafka.admin import all_specs
    from streams.topics import topic_name
    from tables.registry import TABLES

    names = {spec.name: topic_name(spec, settings.namespace) for spec in all_specs(TABLES)}
    candidates = (name, f"{name}.v1", f"table.{name}.v1")
    return next((names[known] for known in candidates if known in names), name)


def _row(state: "TopicState") -> dict[str, object]:
    return {
        "topic": state.name,
        "state": state.action,
        "partitions": state.partitions,
        "key": state.key,
        "written_by": state.written_by,
        "cleanup": state.config.get("cleanup.policy", ""),
    }


def _details(state: "TopicState") -> dict[str, object]:
    return {
        **_row(state),
        "replication": state.replication,
        "doc": state.doc,
        "config": dict(state.config),
        "differences": list(state.differences),
    }
