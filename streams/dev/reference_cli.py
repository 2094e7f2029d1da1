"""The commands as data and as a page: what `docs/reference/cli.md` and the docs' tests are made of.

Read from the command line itself, so it lists what `--help` lists.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin

import typer

from streams.cli.main import COMMANDS, build


class CommandDoc(NamedTuple):
    """One command that can be run: its words after `./orderflow`, its help, what it takes."""

    words: str
    help: str
    params: list[Any]
    takes_more: bool

    @property
    def options(self) -> set[str]:
        """Return the options by all their names."""
        names = (name for one in self.params for name in (*one.opts, *one.secondary_opts))
        return {name for name in names if name.startswith("-")}


def commands() -> list[CommandDoc]:
    """Return every command, those of groups after their group's name: `produce orders`."""
    return [doc for row in COMMANDS for doc in _found(row.name)]


def _found(name: str) -> Iterator[CommandDoc]:
    root: Any = typer.main.get_command(build(COMMANDS, name))
    command = root.commands[name]
    members = getattr(command, "commands", None)
    if members is None:
        yield _doc(name, command)
        return
    for word, member in members.items():
        yield _doc(f"{name} {word}", member)


def _doc(words: str, command: Any) -> CommandDoc:
    settings = command.context_settings or {}
    more = bool(settings.get("ignore_unknown_options"))
    return CommandDoc(words, command.help or "", list(command.params), more)


def cli() -> str:
    """Return the page of the commands."""
    sections = "".join(_section(one) for one in commands())
    return (
        "# Commands\n\n`./orderflow COMMAND --help` says the same. Results go to standard output,"
        " progress and errors to standard error; `--json` prints one line of JSON. Exit codes are"
        " those of [errors](errors.md#of-the-command-line).\n" + sections
    )


def _section(one: CommandDoc) -> str:
    arguments = "".join(f" {_name(p)}" for p in one.params if _is_argument(p))
    options = " [OPTIONS]" if one.options else ""
    more = " [FURTHER…]" if one.takes_more else ""
    usage = f"```\n./orderflow {one.words}{arguments}{options}{more}\n```\n"
    return f"\n## {one.words}\n\n{one.help}\n\n{usage}{_params(one)}"


def _params(one: CommandDoc) -> str:
    if not one.params:
        return ""
    rows = [
        (f"`{_name(p)}`", _takes(p), _default(p), (p.help or "").replace("|", "\\|"))
        for p in one.params
    ]
    head = (("Argument or option", "Takes", "Default", "Meaning"), ("---",) * 4)
    return "\n" + "".join(f"| {' | '.join(row)} |\n" for row in (*head, *rows))


def _is_argument(param: Any) -> bool:
    return not param.opts[0].startswith("-")


def _name(param: Any) -> str:
    if not _is_argument(param):
        return ", ".join(param.opts)
    name = param.metavar or str(param.name).upper()
    return name if param.required else f"[{name}]"


def _takes(param: Any) -> str:
    annotation = param.type_descriptor.annotation
    if annotation is bool:
        return ""
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    kind = {str: "text", int: "integer", float: "number"}.get(annotation, "text")
    low = "" if param.min is None else f", ≥ {param.min}"
    high = "" if param.max is None else f", ≤ {param.max}"
    several = ", repeatable" if param.multiple else ""
    return f"{kind}{low}{high}{several}"


def _default(param: Any) -> str:
    if param.default is None or param.type_descriptor.annotation is bool or param.default == "":
        return ""
    return f"`{param.default}`"
