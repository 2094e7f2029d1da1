"""The wiring as a picture and as rows, for the docs, the command line and `/topology`."""

from typing import Any

from streams.wiring import AGENTS, ROLES, agents_of


def topology() -> dict[str, Any]:
    """Return the graph: agents with what they read, watch, write and keep."""
    return {
        "roles": {role: [spec.name for spec in agents_of(role)] for role in ROLES},
        "agents": [
            {
                "name": spec.name,
                "role": spec.role,
                "doc": spec.doc,
                "reads": [topic.name for topic in spec.reads],
                "watches": [topic.name for topic in spec.watches],
                "writes": [topic.name for topic in spec.writes],
                "table": spec.table.name if spec.table is not None else None,
                "state_first": spec.state_first,
            }
            for spec in AGENTS
        ],
        "mermaid": mermaid(),
    }


def mermaid() -> str:
    """Return the graph as a Mermaid flowchart; the history, which reads all, is one node."""
    lines = ["flowchart LR"]
    for spec in AGENTS:
        if spec.name == "history":
            lines.append("  every[every topic] --> history{{history}} --> ClickHouse[(ClickHouse)]")
            continue
        lines += [
            f"  {_node(topic.name)} --> {spec.name}{{{{{spec.name}}}}}" for topic in spec.reads
        ]
        lines += [f"  {_node(topic.name)} -.-> {spec.name}" for topic in spec.watches]
        lines += [f"  {spec.name} --> {_node(topic.name)}" for topic in spec.writes]
        if spec.table is not None:
            lines.append(f"  {spec.name} <--> {spec.table.name}_table[({spec.table.name})]")
    return "\n".join(dict.fromkeys(lines))


def _node(topic: str) -> str:
    return f"{topic.replace('.', '_').replace('-', '_')}[{topic}]"
