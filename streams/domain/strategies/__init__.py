"""Strategies: what one is, those that come with Orderflow, and what runs them.

A strategy is pure functions of one symbol's events: `protocol`. `pair` runs one strategy on one
symbol and keeps its failures from the others; `host` does so for all of a partition; `config` says
which strategies there are, from settings and controls; `sizing` turns signals into targets.
"""
