"""Facts about a published model and a device, as pieces of an answer: sizes, and what a format of its weights weighs.

Computes with `models.accounting` and `planning.serving`; knows nothing of a request.
"""

from aether.counsel.answers.draft import Draft, name
from aether.counsel.answers.recipe import ModelPart, model_part
from aether.knowledge.library import Device
from aether.knowledge.models_library import PublishedModel, published_model
from aether.models.accounting import cache_bytes, parameters
from aether.planning.search.quality import native_format
from aether.planning.serving.setup import STORED_BYTES, Format
from aether.spec.architecture import Architecture, Attention, LatentAttention
from aether.spec.errors import InputError
from aether.spec.evidence import Kind
from aether.spec.report import Text, text_of

STORED: dict[str, Format] = {
    "bf16": "bf16",
    "fp8": "fp8",
    "int8": "int8",
    "mxfp4": "mxfp4",
    "nvfp4": "nvfp4",
    "int4": "int4",
}
"""Formats of whole checkpoints, and how a weight of each is stored."""


def origin(called: str, architecture: Architecture) -> tuple[Kind, str]:
    """Where a model's configuration comes from: its row, or the person's own file."""
    row = row_of(called)
    if row is None or row.architecture != architecture:
        return "cited", f"the config.json of {called} that you gave"
    return row.kind, f"{row.source}, as of {row.as_of}"


def row_of(called: str) -> PublishedModel | None:
    """The published model of that name, if there is one."""
    try:
        return published_model(called)
    except InputError:
        return None


def described(draft: Draft, called: str, architecture: Architecture) -> ModelPart:
    """The exact configuration; its source becomes a reference."""
    row = row_of(called)
    if row is not None:
        draft.refer_row(row)
    return model_part(draft, called, architecture, *origin(called, architecture))


def weights_in(draft: Draft, called: str, architecture: Architecture, form: str) -> Text:
    """The bytes of all weights in a format, embeddings and head in 16 bits."""
    size = weight_bytes_in(architecture, form)
    source = f"parameters of the blocks in {form}, scales included; embedding and head in 16 bits"
    return text_of(draft.number(f"weights.{called}.{form}", size, "byte", "computed", source), ", computed")


def weight_bytes_in(architecture: Architecture, form: str) -> float:
    """The same as a number."""
    counts = parameters(architecture)
    kept = counts.embedding + counts.head
    return 2.0 * kept + STORED_BYTES[STORED[form]] * (counts.total - kept)


def cache_of(draft: Draft, called: str, architecture: Architecture, tokens: int) -> Text:
    """The cache of one sequence in 16 bits."""
    size = cache_bytes(architecture, tokens, 2.0)
    source = "keys and values, or states, of every layer in 16 bits"
    return text_of(draft.number(f"cache.{called}.{tokens}", size, "byte", "computed", source), ", computed")


def device_memory(draft: Draft, device: Device) -> Text:
    """A device's memory by its data sheet."""
    draft.refer_row(device)
    source = f"{device.source}, as of {device.as_of}"
    return text_of(draft.number(f"device.{device.name}.memory", device.memory_bytes, "byte", device.kind, source))


def native(called: str) -> Text:
    """The format that the weights were published in."""
    return text_of(name(native_format(called)))


def ranks(architecture: Architecture, count: int) -> int:
    """The most of `count` devices that split every attention layer evenly."""
    heads = [g.mixer.heads for g in architecture.groups if isinstance(g.mixer, Attention | LatentAttention)]
    return next(n for n in range(count, 0, -1) if all(h % n == 0 for h in heads))
