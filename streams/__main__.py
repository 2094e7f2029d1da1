"""Run `python -m streams COMMAND`, which `./orderflow COMMAND` does in its own environment."""

from streams.cli.main import main

main()
