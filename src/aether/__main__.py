"""`python -m aether` is `aether`."""

from aether.surfaces.cli.main import main

main(prog_name="aether")
