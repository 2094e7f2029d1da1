"""The reference pages say what the code says, and leave nothing out."""

import ast
import re
from pathlib import Path

import pytest

from connectors.clickhouse.queries import USER_FOLDERS, load
from streams import errors
from streams.cli.main import COMMANDS
from streams.dev.reference import ROOT, files, out_of_date
from streams.dev.reference_cli import commands
from streams.domain.dead_letter_codes import DEAD_LETTER_CODES, REDRIVE_CODES
from streams.domain.refusals import GUIDE
from streams.models.orders import OrderStatus
from streams.settings import Settings
from streams.topics import TOPICS
from streams.wiring import AGENTS, TABLES

REFERENCE = ROOT / "docs" / "reference"
#: Where codes of refusals and dead letters come from.
CODE_FOLDERS = ("agents", "streams/domain", "streams/transport", "connectors/brokers")


def lines_of(page: str) -> list[str]:
    """Return the lines of a reference page."""
    return (REFERENCE / page).read_text("utf-8").splitlines()


def rows_of(page: str) -> set[str]:
    """Return the first cells of a page's tables, without their backticks."""
    cells = (line.split("|")[1].strip() for line in lines_of(page) if line.startswith("| "))
    return {cell.strip("`") for cell in cells}


def headings_of(page: str) -> set[str]:
    """Return the headings of a page."""
    return {line.lstrip("#").strip() for line in lines_of(page) if line.startswith("#")}


def test_pages_and_schemas_are_up_to_date() -> None:
    """Whoever changes the code runs `python -m streams.dev.reference`."""
    assert out_of_date() == []


@pytest.mark.parametrize("folder", ["docs/reference", "docs/schemas"])
def test_nothing_else_lies_in_the_generated_folders(folder: str) -> None:
    """A page of something that is gone would stay for ever."""
    made = {path for path in files() if path.startswith(folder)}
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).iterdir()} == made


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("settings.md", set(Settings.model_fields)),
        ("topology.md", {spec.name for spec in AGENTS}),
        ("refusals.md", {code.value for code in GUIDE}),
        ("errors.md", set(DEAD_LETTER_CODES)),
        ("order-states.md", {status.value for status in OrderStatus}),
    ],
)
def test_each_has_a_row(page: str, names: set[str]) -> None:
    """Everything that has a name of its own can be looked up."""
    assert names - rows_of(page) == set()


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("topics.md", {topic.name for topic in TOPICS}),
        ("tables.md", {table.name for table in TABLES}),
        ("queries.md", set(load(*USER_FOLDERS))),
        ("cli.md", {command.words for command in commands()}),
        ("order-states.md", {status.value for status in OrderStatus}),
    ],
)
def test_each_has_a_heading(page: str, names: set[str]) -> None:
    """What has more to say than a row has a section."""
    assert names - headings_of(page) == set()


def test_every_command_of_the_table_is_described() -> None:
    """A group without a command in it would be missing from the page without a word."""
    assert {command.words.split()[0] for command in commands()} == {row.name for row in COMMANDS}


def test_every_error_class_is_listed_with_advice() -> None:
    """Advice is printed under the message; one that is not a sentence helps nobody."""
    classes = {
        name: one
        for name, one in vars(errors).items()
        if isinstance(one, type) and issubclass(one, errors.OrderflowError)
    }
    assert set(classes) - rows_of("errors.md") == set()
    assert [name for name, one in classes.items() if not one("").advice.endswith(".")] == []


def codes_in(path: Path) -> set[str]:
    """Return the texts of a file that look like a code: `BAD_JSON`, `TOMBSTONE`."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    texts = (node.value for node in nodes if isinstance(node, ast.Constant))
    return {text for text in texts if isinstance(text, str) and re.fullmatch(CODE, text)}


#: Words of HTTP and of the REST brokers' protocol; `docs/brokers.md` has them.
WIRE = {"PATCH", "DELETE", "DUPLICATE"}
CODE = r"[A-Z]{5,}|[A-Z]{2,}(_[A-Z]+)+"


def test_every_code_in_the_code_is_in_the_reference() -> None:
    """A code that is written anywhere on the way of a record has its row."""
    paths = (path for folder in CODE_FOLDERS for path in (ROOT / folder).rglob("*.py"))
    used = set().union(*(codes_in(path) for path in paths))
    listed = {code.value for code in GUIDE} | set(DEAD_LETTER_CODES) | set(REDRIVE_CODES)
    assert used - WIRE - listed == set()
