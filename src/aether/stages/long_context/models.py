"""The models that are compared, all over the longer context: as it was, with the new scaling alone, and after training on."""

from dataclasses import dataclass
from pathlib import Path

from aether.models.decoder import Decoder
from aether.models.folders import model_folder
from aether.models.weights import WEIGHTS_NAME, model_of, read_config, read_tensors
from aether.spec.errors import InputError


@dataclass(frozen=True)
class Compared:
    """`plain` turns on as it did beyond its context, `scaled` has the weights of before under the config of after."""

    plain: Decoder
    scaled: Decoder
    after: Decoder
    short_before: Decoder
    short_after: Decoder
    """The first and the last over the old context."""

    @property
    def long(self) -> dict[str, Decoder]:
        """By name, those over the longer context."""
        return {"before": self.plain, "scaled": self.scaled, "after": self.after}

    @property
    def old_tokens(self) -> int:
        """The context before."""
        return self.short_before.config.context_tokens

    @property
    def new_tokens(self) -> int:
        """The context after."""
        return self.after.config.context_tokens


def read(before: Path, after: Path) -> Compared:
    """Both folders. Raises InputError when the second has no longer context, or when positions cannot be turned further."""
    first, last = model_folder(before, "before"), model_folder(after, "after")
    old, new = read_config(first), read_config(last)
    if new.context_tokens <= old.context_tokens:
        raise InputError.of(
            "inputs.after", new.context_tokens, f"its context must be longer than {old.context_tokens}, that before"
        )
    if old.positions == "learned":
        raise InputError.of("model.positions", "learned", "learnt positions end where they end; nothing to compare")
    weights, trained = read_tensors(first / WEIGHTS_NAME), read_tensors(last / WEIGHTS_NAME)
    longer = old.model_copy(update={"context_tokens": new.context_tokens, "rope_scaling": None})
    shorter = new.model_copy(update={"context_tokens": old.context_tokens})
    models = (
        model_of(config, tensors).float().eval()
        for config, tensors in ((longer, weights), (new, weights), (new, trained), (old, weights), (shorter, trained))
    )
    return Compared(*models)
