"""The wiring says what the code does: who writes what, who reports what, what stands at heads."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

import agents
from streams.topics import BY_NAME, DEAD_LETTERS, TOPICS, TopicSpec, partitions_of, topic_name
from streams.topology import topology
from streams.transport.codec import nones_come_back
from streams.wiring import AGENTS, ROLES, AgentSpec, agents_of, reported_by
from tables.registry import TABLES

FILES = {path.stem: path for path in Path(agents.__file__).parent.glob("[a-z]*.py")}
SPECS = {spec.name: spec for spec in AGENTS}

#: Topics that come from outside: nobody in the graph writes them.
FROM_OUTSIDE = {"users", "market data", "operators"}


def test_every_agent_is_a_file_and_every_file_an_agent() -> None:
    """And each is in one of the roles."""
    assert sorted(FILES) == sorted(SPECS)
    assert [spec for role in ROLES for spec in agents_of(role)] == sorted(
        AGENTS, key=lambda spec: ROLES.index(spec.role)
    )


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_agent_says_at_its_head_what_it_does(name: str) -> None:
    """In, Out, State, Twice, Bad, in this order; its topics and its table are named there."""
    head = ast.get_docstring(ast.parse(FILES[name].read_text())) or ""
    words = ("In", "Out", "State", "Twice", "Bad")
    starts = [line.split()[0].rstrip(":") for line in head.splitlines() if line.strip()]
    assert list(dict.fromkeys(word for word in starts if word in words)) == list(words)
    spec = SPECS[name]
    for topic in (*spec.reads, *spec.writes) if name != "history" else spec.writes:
        short = topic.name.removesuffix(".v1")
        known = re.sub(r"venue\.\w+", "venue.<broker>", short)
        assert short in head or known in head, f"{name}: {short}"
    assert spec.table is None or f"`{spec.table.name}`" in head


def test_a_table_has_one_writer_and_is_registered() -> None:
    """The agent that the wiring gives it to is the one it names."""
    assert {spec.table.name: spec.name for spec in AGENTS if spec.table} == {
        table.name: table.written_by for table in TABLES
    }
    assert len({table.name for table in TABLES}) == len(TABLES)


@pytest.mark.parametrize("topic", TOPICS, ids=[topic.name for topic in TOPICS])
def test_a_topics_writers_are_those_of_the_wiring(topic: TopicSpec) -> None:
    """`written_by` in the registry, and who writes it in the graph."""
    writers = [spec.name for spec in AGENTS if topic in spec.writes]
    if topic is DEAD_LETTERS:
        assert topic.written_by == "every agent"
    else:
        said = topic.written_by.split(", ")
        assert [name for name in said if name not in FROM_OUTSIDE] == writers


def test_agents_emit_only_what_the_wiring_says() -> None:
    """The topics that an agent's file names in its calls of `emit`."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, path in FILES.items():
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "emit":
                found[name].add(ast.unparse(call.args[0]))
    names = {f"{_constant(topic)}": topic for topic in TOPICS}
    for name, written in found.items():
        # The router looks its topic up by broker.
        constants = {word for word in written if not word.startswith("VENUE_TOPICS[")}
        declared = {topic.name for topic in SPECS[name].writes}
        assert {names[word].name for word in constants} <= declared
    assert set(found) == {spec.name for spec in AGENTS} - {"history"}


def _constant(topic: TopicSpec) -> str:
    return topic.name.removesuffix(".v1").replace(".", "_").replace("-", "_").upper()


def test_a_bad_record_of_any_topic_has_one_reporter() -> None:
    """However many agents read the topic."""
    reporters: dict[str, list[str]] = defaultdict(list)
    for spec in AGENTS:
        assert reported_by(spec).isdisjoint(topic.name for topic in spec.silent_on)
        for name in reported_by(spec):
            reporters[name].append(spec.name)
    assert set(reporters) == set(BY_NAME)
    assert all(len(names) == 1 for names in reporters.values())


def test_the_history_reads_everything() -> None:
    """A topic that is added is in it."""
    assert SPECS["history"].reads == TOPICS


def test_names_and_partitions() -> None:
    """A namespace goes in front; the controls have one partition, so that they have one order."""
    assert topic_name(DEAD_LETTERS, "") == "dead-letters.v1"
    assert topic_name(DEAD_LETTERS, "ns") == "ns.dead-letters.v1"
    single = [topic.name for topic in TOPICS if partitions_of(topic, 4) == 1]
    assert single == ["controls.v1", "dead-letters.handled.v1"]


def test_what_is_kept_as_it_stands_is_compacted_and_never_expires() -> None:
    """Everything else has a retention."""
    for topic in TOPICS:
        config = topic.kafka_config()
        kept = topic.name.endswith((".updates.v1", ".last.v1", "controls.v1", ".handled.v1"))
        assert config["cleanup.policy"] == ("compact" if kept else "delete")
        assert ("retention.ms" in config) is not kept


def models_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation consists of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_of(inner)


@pytest.mark.parametrize("topic", [topic for topic in TOPICS if topic.value is not None])
def test_a_none_on_the_wire_is_a_field_left_out(topic: TopicSpec) -> None:
    """So every message of a topic is written as users write it."""
    for model in models_of(topic.value):
        assert nones_come_back(model), model


def test_the_graph_is_drawn_from_the_wiring() -> None:
    """Each agent is a node; its topics lead to it and from it."""
    drawn = topology()
    assert [agent["name"] for agent in drawn["agents"]] == [spec.name for spec in AGENTS]
    for spec in AGENTS:
        if spec.name != "history":
            assert _arrows(spec) <= set(drawn["mermaid"].splitlines())


def _arrows(spec: AgentSpec) -> set[str]:
    def node(topic: TopicSpec) -> str:
        return f"{topic.name.replace('.', '_').replace('-', '_')}[{topic.name}]"

    reads = {f"  {node(topic)} --> {spec.name}{{{{{spec.name}}}}}" for topic in spec.reads}
    watches = {f"  {node(topic)} -.-> {spec.name}" for topic in spec.watches}
    return reads | watches | {f"  {spec.name} --> {node(topic)}" for topic in spec.writes}
