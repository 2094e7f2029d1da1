"""`config`: each setting with its value and where that came from; secrets stay hidden."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from streams.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The settings and where they come from.")

MASK = "********"


@app.command()
def show(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print every setting: value, origin (default, environment, orderflow.toml), description."""
    import os

    from streams.cli.output import emit
    from streams.settings import CONFIG_FILE, Settings

    emit(setting_rows(Settings(), os.environ, _toml_names(CONFIG_FILE)), as_json)


def setting_rows(
    settings: "Settings", environment: Mapping[str, str], toml_names: set[str]
) -> list[dict[str, Any]]:
    """Return a row for each setting; secrets that are set appear as `MASK`."""
    from streams.settings import CONFIG_FILE, ENV_PREFIX

    in_environment = {name.upper() for name in environment}
    rows = []
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if ENV_PREFIX + name.upper() in in_environment:
            origin = "environment"
        elif name in toml_names:
            origin = CONFIG_FILE
        else:
            origin = "default" if value == field.default else "option"
        rows.append(
            {
                "setting": name,
                "value": MASK if _hidden(value, field.default) else _printable(value),
                "origin": origin,
                "description": field.description or "",
            }
        )
    return rows


def settings_markdown() -> str:
    """Return the reference table of all settings, in the order of `streams/settings.py`."""
    from streams.settings import ENV_PREFIX, Settings

    lines = ["| Setting | Environment | Default | Values | Meaning |", "|---|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = str(_printable(field.default))
        cells = (
            f"`{name}`",
            f"`{ENV_PREFIX}{name.upper()}`",
            "" if default == "" else f"`{default}`",
            _values(field),
            (field.description or "").replace("|", "\\|"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _hidden(value: Any, default: Any) -> bool:
    """Return whether this is a secret that was set; the default is in the reference anyway."""
    from pydantic import SecretStr

    return isinstance(value, SecretStr) and value != default


def _printable(value: Any) -> Any:
    from pathlib import Path

    from pydantic import SecretStr

    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value) if isinstance(value, Path) else value


def _values(field: "FieldInfo") -> str:
    """Return what a setting takes: its choices, or its type with bounds."""
    from typing import Literal, get_args, get_origin

    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "pattern": "matches"}
    bounds = [
        f"{sign} {getattr(limit, name)}"
        for limit in field.metadata
        for name, sign in signs.items()
        if getattr(limit, name, None) is not None
    ]
    kind = {"str": "text", "SecretStr": "text, secret", "int": "integer", "float": "number",
            "bool": "true, false", "Path": "path"}  # fmt: skip
    name = getattr(field.annotation, "__name__", "")
    return ", ".join([kind.get(name, name), *bounds]).replace("|", "\\|")


def _toml_names(file: str) -> set[str]:
    """Return the names that the settings file sets, none without a file."""
    import tomllib
    from pathlib import Path

    path = Path(file)
    return set(tomllib.loads(path.read_text("utf-8"))) if path.is_file() else set()
