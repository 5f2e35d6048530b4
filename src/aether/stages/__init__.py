"""The verbs. Each folder has `recipe` (choices), `estimate` (arithmetic) and `run` (the door to the heavy code).

`STAGES` is the whole list: adding a stage is one line here and one folder. Its strings keep the heavy imports out
until a step really runs.
"""

from typing import NamedTuple


class Stage(NamedTuple):
    """Where a stage's recipe class and its `run(recipe, context)` are, as "module:name"."""

    recipe: str
    run: str


STAGES: dict[str, Stage] = {
    "probe": Stage("aether.hardware.probe:ProbeRecipe", "aether.hardware.probe:run"),
    "data": Stage("aether.stages.data.recipe:DataRecipe", "aether.stages.data.run:run"),
    "train": Stage("aether.stages.train.recipe:TrainRecipe", "aether.stages.train.run:run"),
    "surgery": Stage("aether.stages.surgery.recipe:SurgeryRecipe", "aether.stages.surgery.run:run"),
    "long-context": Stage("aether.stages.long_context.recipe:LongContextRecipe", "aether.stages.long_context.run:run"),
    "compress": Stage("aether.stages.compress.recipe:CompressRecipe", "aether.stages.compress.run:run"),
    "evaluate": Stage("aether.stages.evaluate.recipe:EvaluateRecipe", "aether.stages.evaluate.run:run"),
    "serve": Stage("aether.stages.serve.recipe:ServeRecipe", "aether.stages.serve.run:run"),
}
