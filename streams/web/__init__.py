"""The Faust web views: tables as JSON, answered by the worker that owns the key.

Faust's own `/table` view stays off: it answers unknown keys with a default and HTTP 200.
"""
