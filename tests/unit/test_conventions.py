"""The house rules that a machine can check: clocks, chance, SQL, heads, writers, sizes, words."""

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from streams import topics
from streams.dev.reference import ROOT
from streams.topics import (
    ALLOCATIONS_REQUESTED,
    DEAD_LETTERS,
    ORDERS_EVENTS,
    ORDERS_REQUESTED,
    RECONCILIATIONS,
    TOPICS,
    TopicSpec,
)
from streams.wiring import AGENTS, TABLES
from tables.registry import TABLES as REGISTERED

PRODUCT = ("streams", "agents", "tables", "connectors")
CLOCK = "streams/clock.py"

#: What reads a clock, as it is written: `time.monotonic`, `datetime.now`.
CLOCKS = {
    *(f"time.{name}" for name in ("time", "monotonic", "perf_counter", "process_time")),
    *(f"time.{name}_ns" for name in ("time", "monotonic", "perf_counter", "process_time")),
    *(f"datetime.{name}" for name in ("now", "utcnow", "today")),
    "date.today",
}
#: `time.sleep` stops a whole event loop; only processes without one may use it.
SLEEPERS = "streams/dev/"

MAX_LINES = 400
#: Longer files, and why.
LONG = {
    "streams/domain/risk.py": "twenty checks of a few lines each, read from top to bottom",
    "streams/domain/validation.py": "twenty-one field rules of a few lines each, likewise",
}

#: The server of ours speaks SQL; everything else has it in `sql/`.
SPEAKS_SQL = re.compile(r"streams/dev/clickhouse_\w+\.py")
SQL = re.compile(
    r"\s*(select\s.*\sfrom\s|select \d|insert\s+into\s|create\s+(or\s+replace\s+)?"
    r"(table|view|database|materialized)\s|alter\s+table\s|drop\s+(table|view|database)\s"
    r"|truncate\s|optimize\s+table\s|delete\s+from\s)",
    re.IGNORECASE | re.DOTALL,
)

HEAD = ("In", "Out", "State", "Twice", "Bad")
MACHINE_PATH = re.compile(r"(?<![\w.$}/-])/(root|home|Users|work|mnt|tmp)/\w")
ROOT_FILES = ("*.md", "*.lock", "*.yml", "pyproject.toml", "orderflow", "Dockerfile", ".ci/run")
TEXT = {".py", ".md", ".toml", ".yml", ".sql", ".json", ".lock"}


def sources(*folders: str) -> list[Path]:
    """Return the Python files of top-level folders."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """Return a path as it is written in these tests."""
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text("utf-8"))


def names_used(path: Path) -> Iterator[str]:
    """Yield `a.b` for each attribute of a name, and for each `from a import b`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{one.name}" for one in node.names)
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names)


@pytest.mark.parametrize("name", sorted(CLOCKS | {"time.sleep"}))
def test_the_clock_rule_sees_what_it_forbids(name: str, tmp_path: Path) -> None:
    """Both ways of writing it are found."""
    module, _, attribute = name.partition(".")
    path = tmp_path / "example.py"
    path.write_text(f"from {module} import {attribute}\n{name}()\n")
    assert list(names_used(path)) == [name, name]


def test_only_one_file_reads_a_clock() -> None:
    """Replay and tests give "now" as an argument."""
    found = {
        (name_of(path), name)
        for path in sources(*PRODUCT)
        for name in names_used(path)
        if name in CLOCKS and name_of(path) != CLOCK
    }
    assert found == set()


def test_only_the_supervisor_sleeps() -> None:
    """In a worker it would stop everything else."""
    sleeping = {name_of(path) for path in sources(*PRODUCT) if "time.sleep" in names_used(path)}
    assert {name for name in sleeping if not name.startswith(SLEEPERS)} == set()


def test_no_random_ids() -> None:
    """Ids of derived records are functions of the input."""
    chance = re.compile(r"(uuid|secrets)(\..*)?|random\.(random|randint|choice|getrandbits)")
    where = sources("agents", "tables", "connectors", "streams/domain", "streams/transport")
    found = {(name_of(path), n) for path in where for n in names_used(path) if chance.fullmatch(n)}
    assert found == set()


@pytest.mark.parametrize("path", sources("agents")[1:], ids=name_of)
def test_each_agent_says_what_it_does(path: Path) -> None:
    """The head has the five words, each at the start of a line, in order."""
    head = ast.get_docstring(tree(path)) or ""
    words = re.findall(rf"^({'|'.join(HEAD)})(?::|  )", head, re.MULTILINE)
    assert tuple(words) == HEAD


def test_every_agent_has_its_file() -> None:
    """One file per agent of the wiring, and no other."""
    files = {path.stem for path in sources("agents")} - {"__init__"}
    assert files == {spec.name for spec in AGENTS}


def test_each_topic_has_one_writing_agent() -> None:
    """But for those that ask, and those that tell what each of several saw."""
    writers = Counter(topic.name for spec in AGENTS for topic in spec.writes)
    several = {name for name, count in writers.items() if count > 1}
    asked = {ORDERS_REQUESTED.name, ALLOCATIONS_REQUESTED.name}
    told = {ORDERS_EVENTS.name, RECONCILIATIONS.name}
    assert several - {DEAD_LETTERS.name} == asked | told


@pytest.mark.parametrize("topic", [t for t in TOPICS if t != DEAD_LETTERS], ids=lambda t: t.name)
def test_the_registry_names_the_writers(topic: object) -> None:
    """`written_by` is what users read; the wiring is what happens."""
    agents = {spec.name for spec in AGENTS}
    said = set(getattr(topic, "written_by", "").split(", "))
    assert said & agents == {spec.name for spec in AGENTS if topic in spec.writes}
    assert said - agents <= {"users", "operators", "market data"}


def test_each_table_has_one_writer() -> None:
    """The agent that keeps it, named in its row."""
    kept = [(spec.name, spec.table.name) for spec in AGENTS if spec.table is not None]
    assert Counter(table for _, table in kept).most_common(1)[0][1] == 1
    assert {(table.written_by, table.name) for table in TABLES} == set(kept)
    assert {table.name for table in REGISTERED} == {table.name for table in TABLES}


@pytest.mark.parametrize("spec", AGENTS, ids=lambda spec: spec.name)
def test_agents_know_no_other_topics_than_the_wiring_says(spec: object) -> None:
    """A topic that an agent's file imports is one it reads or writes."""
    path = ROOT / "agents" / f"{getattr(spec, 'name', '')}.py"
    imported = [
        getattr(topics, name.removeprefix("streams.topics."))
        for name in names_used(path)
        if re.fullmatch(r"streams\.topics\.[A-Z_]+", name)
    ]
    wired = {*_names(getattr(spec, "reads", ())), *_names(getattr(spec, "writes", ()))}
    assert _names(imported) - wired - {DEAD_LETTERS.name} == set()


def _names(specs: Iterable[TopicSpec]) -> set[str]:
    return {spec.name for spec in specs}


def strings_of(path: Path) -> Iterator[str]:
    """Yield the texts of a file that are no docstrings."""
    module = tree(path)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_sql_stands_in_sql_files() -> None:
    """Statements are read, tested and formatted where SQL is expected."""
    found = {
        (name_of(path), text)
        for path in sources(*PRODUCT)
        if not SPEAKS_SQL.fullmatch(name_of(path))
        for text in strings_of(path)
        if SQL.match(text)
    }
    assert found == set()


@pytest.mark.parametrize(
    ("text", "is_sql"),
    [
        ("select a from b", True),
        ("INSERT INTO t (a) values", True),
        ("create or replace view v as", True),
        ("Select a broker from the list", True),  # prose that reads like it is written otherwise
        ("the select in quotes", False),
    ],
)
def test_what_counts_as_sql(text: str, is_sql: bool) -> None:
    """A statement at the start of a text."""
    assert bool(SQL.match(text)) == is_sql


def test_files_stay_small() -> None:
    """Past the limit there is a second noun inside."""
    sizes = {name_of(p): len(p.read_text("utf-8").splitlines()) for p in sources(*PRODUCT)}
    too_long = {name for name, lines in sizes.items() if lines > MAX_LINES}
    assert too_long == set(LONG)


def files() -> list[Path]:
    """Return the text files that are ours, but for the tests."""
    found = [path for name in ROOT_FILES for path in ROOT.glob(name)]
    for folder in (*PRODUCT, "docs", "sql", "benchmarks"):
        found += [path for path in (ROOT / folder).rglob("*") if path.suffix in TEXT]
    return sorted(found)


def test_no_path_of_a_machine() -> None:
    """What is written here holds on every machine."""
    found = {
        (name_of(path), line.strip())
        for path in files()
        for line in path.read_text("utf-8").splitlines()
        if MACHINE_PATH.search(line)
    }
    assert found == set()


def test_the_locks_name_no_package_index() -> None:
    """Which index serves the packages is the machine's affair."""
    locks = [path for path in files() if path.suffix == ".lock"]
    assert [name_of(p) for p in locks if re.search(r"index-url|https?://", p.read_text())] == []


def test_every_part_of_streams_has_its_layer() -> None:
    """A new module that is in no layer would escape the import contract."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layers = config["tool"]["importlinter"]["contracts"][0]["layers"]
    named = set(re.findall(r"[a-z_.]+", " ".join(layers)))
    parts = {path.stem for path in (ROOT / "streams").iterdir() if is_part(path)}
    assert {f"streams.{part}" for part in parts} | {"agents", "tables", "connectors"} == named


def is_part(path: Path) -> bool:
    """Return whether a path is a module or package of `streams`."""
    if path.is_dir():
        return (path / "__init__.py").is_file() or any(path.glob("*.py"))
    return path.suffix == ".py" and path.stem != "__init__"
