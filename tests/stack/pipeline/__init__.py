"""Tests on the whole pipeline, running."""
