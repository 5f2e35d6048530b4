"""`python -m aether` is `aether`; under torchrun the first process is, and the others train with it."""

import os

from aether.surfaces.cli.main import main

if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["WORLD_SIZE"]) > 1:
    from aether.stages.train.parallel.crew import under_torchrun

    under_torchrun(lambda: main(prog_name="aether"))
else:
    main(prog_name="aether")
