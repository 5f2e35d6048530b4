"""What Aether's own torchrun starts in every process: `torchrun ... -m aether.stages.train.parallel JOB.json`.

The first process writes its progress as JSON lines to standard output. A sentence for a person (bad input, a full disk) goes to
tmp/error.json of the step's output, and the process ends well: starting again would not mend it.
"""

import json
import sys
from pathlib import Path

from aether.evidence.files import read_json, write_json
from aether.spec.errors import AetherError
from aether.spec.run import Progress
from aether.stages.train.parallel.crew import Job, carry_out
from aether.stages.train.parallel.loop import ERROR


def _say(progress: Progress) -> None:
    line = {"done": progress.done, "total": progress.total, "unit": progress.unit, "message": progress.message}
    sys.stdout.write(json.dumps(line | {"numbers": dict(progress.numbers)}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    job = Job.model_validate(read_json(Path(sys.argv[1])))
    try:
        carry_out(job, _say)
    except AetherError as error:
        write_json(job.out / ERROR, {"kind": type(error).__name__, "message": str(error)})
