"""A simulation of the order path that crashes, repeats and delays, seed by seed. See README.md."""
