"""Targets of positions: rounding and division, what was filled, the way to the target."""
