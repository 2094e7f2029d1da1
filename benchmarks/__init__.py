"""Benchmarks of Orderflow beside its rivals, on the same work, on this machine.

`./orderflow bench NAME [--json] [--quick]` runs one; the docstring of its
module says what it measures and how.

- `harness`  repeats, medians, ratios, and what is recorded of a run
- `rivals`   the rivals' own environment: their packages, their jars
- one module per benchmark, each with `run(plan) -> dict`
"""
