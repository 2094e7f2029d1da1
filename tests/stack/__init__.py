"""Tests on the embedded stack."""
