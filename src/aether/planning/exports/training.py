"""Which tool a training setup is written for, and the one door to all of them."""

from enum import StrEnum

from aether.planning.exports.common import ExportedFile
from aether.planning.exports.deepspeed import export_deepspeed
from aether.planning.exports.huggingface import export_huggingface
from aether.planning.exports.megatron import export_megatron
from aether.planning.exports.torchtitan import export_torchtitan
from aether.planning.training.setup import TrainingSetup
from aether.spec.errors import InputError


class TrainingTool(StrEnum):
    """Tools that train."""

    TORCHTITAN = "torchtitan"
    MEGATRON = "megatron"
    DEEPSPEED = "deepspeed"
    ACCELERATE = "accelerate"
    """accelerate's launcher with TRL's SFT on top."""


_WRITERS = {
    TrainingTool.TORCHTITAN: export_torchtitan,
    TrainingTool.MEGATRON: export_megatron,
    TrainingTool.DEEPSPEED: export_deepspeed,
    TrainingTool.ACCELERATE: export_huggingface,
}


TOOLS = {
    "megatron": (TrainingTool.MEGATRON,),
    "torchtitan": (TrainingTool.TORCHTITAN,),
    "fsdp": (TrainingTool.TORCHTITAN, TrainingTool.ACCELERATE),
    "deepspeed": (TrainingTool.DEEPSPEED,),
}
"""Framework of a setup -> the tools that it is written out for."""


def expressible(setup: TrainingSetup) -> bool:
    """Whether one of the tools of its framework can carry the setup out."""
    for tool in TOOLS.get(setup.software.framework, ()):
        try:
            export_training(setup, tool)
        except InputError:
            continue
        return True
    return False


def export_training(setup: TrainingSetup, tool: TrainingTool | str) -> tuple[ExportedFile, ...]:
    """The files that run `setup` with `tool`; an InputError names the field that the tool cannot express."""
    return _WRITERS[TrainingTool(tool)](setup)
