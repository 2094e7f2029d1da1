"""The tests: `unit` needs nothing but Python, `stack` the embedded stack."""
