"""Replays: stored ticks through the same agents, in event time, in one process.

Byte-equal results rule out processes that race, so here is no Kafka: topics are lists in memory,
and one loop gives each agent its records in an order that follows from the ticks alone.

- `unit`, `lane`: what an agent is given, and one agent with one partition;
- `engine`: whose turn it is; `blocks`: ticks as records, and where they may be given at once;
- `world`: the agents, their rules and prices; `sources`, `columns`: ticks out of stores and files;
- `journal`: what the agents wrote, on disk, and its hash; `observer`, `report`, `charts`: results;
- `run`, `compare`, `check`, `sweep`, `publish`: what the command does. See `docs/replay.md`.
"""
