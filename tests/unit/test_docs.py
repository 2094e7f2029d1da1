"""What the docs point at is there: files, headings, commands, options, settings, views, queries."""

import re
import shlex
from pathlib import Path

import pytest

from connectors.clickhouse.queries import SQL, USER_FOLDERS, load
from streams.cli.main import COMMANDS
from streams.dev.reference import ROOT
from streams.dev.reference_cli import CommandDoc, commands
from streams.settings import ENV_PREFIX, Settings

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "sql/*.md", "streams/data/*.md")
    for path in ROOT.glob(pattern)
)
#: Files with hints like "see `./orderflow doctor`".
HINTS = sorted(
    path for name in ("streams", "agents", "connectors") for path in (ROOT / name).rglob("*.py")
)
#: Read by the launcher, before there are settings.
LAUNCHER = {"ORDERFLOW_PYTHON"}

COMMAND = re.compile(r"\./orderflow ([a-z][^\n`]*)")
QUOTED = re.compile(r"`\./orderflow ([a-z][^\n`{]*)`")
KNOWN = {command.words: command for command in commands()}


def name_of(path: Path) -> str:
    """Return a path as it is written in these tests."""
    return path.relative_to(ROOT).as_posix()


def anchors_of(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are made of Markdown."""
    lines = path.read_text("utf-8").splitlines()
    headings = (line.lstrip("#").strip().lower() for line in lines if re.match(r"#+ ", line))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """A file that is there, and in it the heading."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    assert broken == []


def words_of(text: str) -> list[str]:
    """Return the words of a command line up to a comment, a pipe or what cannot be split."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|<>;")
    lexer.whitespace_split = True
    found: list[str] = []
    try:
        for word in lexer:
            if word[0] in "|<>;":
                break
            found.append(word)
    except ValueError:
        return text.split()
    return found


def find(words: list[str]) -> CommandDoc | None:
    """Return the command that the words begin with."""
    short = {"import": "import files", "replay": "replay run"}
    by_default = KNOWN.get(short.get(words[0], "")) if len(words) > 1 else None
    return KNOWN.get(" ".join(words[:2])) or KNOWN.get(words[0]) or by_default


def flaws(line: str) -> str:
    """Return what is wrong with a command line after `./orderflow`, or nothing."""
    words = words_of(line)
    words[0] = words[0].rstrip(".,:;)")
    command = find(words)
    if command is None:
        group = words[0] in {row.name for row in COMMANDS}
        return "" if group and len(words) == 1 else f"no command: {line}"
    if command.takes_more:
        return ""
    options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    unknown = options - command.options - {"--help"}
    return f"no option {', '.join(sorted(unknown))}: {line}" if unknown else ""


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_the_docs_exist(page: Path) -> None:
    """Each `./orderflow …` names a command with options that it has."""
    lines = COMMAND.findall(page.read_text("utf-8"))
    assert [found for line in lines if (found := flaws(line))] == []


def test_commands_in_messages_exist() -> None:
    """Advice that names a command names one that exists."""
    found = {
        (name_of(path), line)
        for path in HINTS
        for line in QUOTED.findall(path.read_text("utf-8"))
        if flaws(line)
    }
    assert found == set()


@pytest.mark.parametrize(
    ("line", "is_right"),
    [
        ("demo --orders 20000 --rate 1000", True),
        ("test --fast -k matching", True),  # further arguments go to pytest
        ("produce ticks --sample   # a comment", True),
        ("query order_timeline -p order_id=o-1 | head --lines 3", True),
        ("rules", True),  # a group by itself prints its help
        ("dead-letters repeat 1:0", False),
        ("demo --order 3", False),
        ("import ticks.csv --map price=px", True),  # short for `import files`
        ("import ticks.csv --mop price=px", False),
        ("replay --from 2013-10-07 --speed 10x", True),  # short for `replay run`
        ("export", False),
    ],
)
def test_what_counts_as_a_command(line: str, is_right: bool) -> None:
    """The check itself sees wrong words and options."""
    assert (flaws(line) == "") == is_right


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_settings_in_the_docs_exist(page: Path) -> None:
    """A variable that is named is one that is read."""
    named = set(re.findall(r"\bORDERFLOW_[A-Z_]*[A-Z]\b", page.read_text("utf-8")))
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    assert named - known - LAUNCHER == set()


def test_queries_and_views_in_the_docs_exist() -> None:
    """docs/history.md lists what there is, all of it."""
    text = (ROOT / "docs" / "history.md").read_text("utf-8")
    files = sorted((SQL / "migrations").glob("*.sql"))
    views = {view for file in files for view in re.findall(r"view (\w+) as", file.read_text())}
    listed = set(re.findall(r"`(\w+)`", text.partition("## Views")[2].partition("\n## ")[0]))
    assert views - listed == set()
    named = set(re.findall(r"`(\w+)`", text.partition("## Named queries")[2].partition("\n## ")[0]))
    assert named - set(load(*USER_FOLDERS)) == set()


def test_every_decision_is_in_the_index() -> None:
    """A page that nothing leads to is not read."""
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    files = {path.name for path in (ROOT / "docs" / "decisions").glob("*.md")}
    assert {name for name in files if f"decisions/{name}" not in index} == set()


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=name_of)
def test_decisions_have_their_parts(page: Path) -> None:
    """Why, what, what follows, what else, and when to think again."""
    parts = re.findall(r"^## (.+)$", page.read_text("utf-8"), re.MULTILINE)
    assert parts == [
        "Context",
        "Decision",
        "Consequences",
        "Rejected",
        "How we would notice it was wrong",
    ]
    assert re.search(r"^Status: (accepted|superseded by \d{4})$", page.read_text(), re.MULTILINE)
    assert page.read_text().startswith(f"# {page.name[:4]} ")


def test_the_order_by_hand_is_a_command() -> None:
    """The order of the README is taken by the topic's own schema."""
    from streams.topics import ORDERS_REQUESTED

    text = (ROOT / "README.md").read_text("utf-8")
    orders = re.findall(r'\{"command": "submit".*?\}', text.replace("'\n    b'", ""))
    taken = [ORDERS_REQUESTED.adapter.validate_json(order) for order in orders]
    assert {(one.order_id, one.account, str(one.limit_price)) for one in taken} == {
        ("o-1", "A1", "49.20")
    }
    assert len(taken) == 2
