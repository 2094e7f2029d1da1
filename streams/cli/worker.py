"""Run one worker of a role in the foreground."""

from typing import Annotated

import typer

from streams.errors import UsageError


def worker(
    role: Annotated[str, typer.Argument(help="orders, gateway, market or history.")],
    index: Annotated[int, typer.Option(help="Number among the workers of this role here.")] = -1,
) -> None:
    """Run one worker; SIGTERM lets it finish what is under way."""
    from streams.main import run
    from streams.settings import Settings
    from streams.wiring import ROLES

    if role not in ROLES:
        raise UsageError(f"unknown role {role!r}; the roles are {', '.join(ROLES)}")
    settings = Settings()
    if index >= 0:
        settings = settings.model_copy(update={"worker_index": index})
    run(settings, role)
