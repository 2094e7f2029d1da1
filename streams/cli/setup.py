"""`setup` and `ready`: what containers and the supervisor run around the workers."""

from typing import Annotated

import typer

from streams.cli.output import emit

JsonOpt = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def setup(as_json: JsonOpt = False) -> None:
    """Create what is missing of topics, first controls and ClickHouse's tables; safe to repeat."""
    import asyncio

    from connectors.clickhouse.migrate import migrate
    from connectors.kafka.admin import apply_topics
    from connectors.kafka.controls import seed_controls
    from streams.settings import Settings
    from tables.registry import TABLES

    settings = Settings()

    async def run() -> dict[str, int]:
        states = await apply_topics(settings, TABLES)
        controls = await seed_controls(settings)
        return {
            "topics_created": sum(state.action == "created" for state in states),
            "controls_version": controls.version,
            "migrations_applied": len(await migrate(settings)),
        }

    emit(asyncio.run(run()), as_json)


def ready(
    role: Annotated[str, typer.Argument(help="orders, gateway, market or history.")],
    as_json: JsonOpt = False,
) -> None:
    """Exit with 0 if the role's worker on this machine is ready, else say what it waits for."""
    from streams.app import web_port
    from streams.dev.roles import probe
    from streams.dev.service import NotReadyError
    from streams.errors import ServiceUnavailableError, UsageError
    from streams.settings import Settings
    from streams.wiring import ROLES

    if role not in ROLES:
        raise UsageError(f"unknown role {role!r}; the roles are {', '.join(ROLES)}")
    try:
        state = probe("127.0.0.1", web_port(Settings(), role))
    except NotReadyError as error:
        raise ServiceUnavailableError(str(error)) from error
    emit({"role": role, "state": state}, as_json)
