"""The agents: thin carriers between topics and the pure core, one file each.

The one rule: `step` runs on the worker's event loop and must return within milliseconds.
"""
