"""Faults under load, and what must hold after each of them."""
