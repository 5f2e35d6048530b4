"""Windows in a shuffled order: a batch of neighbours would be one file over and over.

`PackedTokens` shuffles documents, so neighbouring windows are of one document and their gradients say nearly the same.
Here the windows of each block (one epoch, to the last whole window) are permuted by (seed, block). Still every window
once per block, any sample at once from its index, nothing random left to remember.

Shapes: B windows, T tokens.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from aether.evidence.hashing import hash_file
from aether.models.corpus import Document
from aether.models.packing import PackedTokens, mix64
from aether.spec.errors import InputError
from aether.stages.train.mixing import MixturePlan, Stretch, Turns
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.streaming import StreamedWindows

_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
"""The increment of splitmix64 (Steele et al., OOPSLA 2014): spreads neighbouring seeds apart."""


class ShuffledWindows:
    """`packed` in a shuffled order; memory is 8 bytes per window."""

    def __init__(self, packed: PackedTokens, seed: int) -> None:
        self._packed, self._seed = packed, seed
        self._size = max(1, int(packed.samples_per_epoch))
        self._block, self._order = -1, np.empty(0, np.int64)

    @property
    def size(self) -> int:
        """Windows of one epoch."""
        return self._size

    def sample(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Sample `index`: (tokens int64 [T + 1], document ids int64 [T + 1])."""
        return self._packed.sample(self.place(index))

    def place(self, index: int) -> int:
        """The place in the packed stream of sample `index`."""
        block, within = divmod(index, self._size)
        if block != self._block:
            key = mix64(np.array([self._seed], np.uint64) * _GOLDEN_RATIO + np.uint64(block) + np.uint64(1))
            keys = mix64(key + np.arange(self._size, dtype=np.uint64) * _GOLDEN_RATIO)
            self._block, self._order = block, np.argsort(keys, kind="stable")
        return block * self._size + int(self._order[within])

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples first .. first + count - 1: (tokens int64 [B, T + 1], document ids int64 [B, T + 1])."""
        samples = [self.sample(index) for index in range(first, first + count)]
        return np.stack([tokens for tokens, _ in samples]), np.stack([ids for _, ids in samples])

    def documents(self, index: int) -> tuple[Document, ...]:
        """The documents with a token in sample `index`, in order."""
        return self._packed.documents(self.place(index))


class MixedWindows:
    """Several corpora, whose turns `plan` gives; each in its own shuffled order, none again before all of it was read."""

    def __init__(self, sources: Sequence[ShuffledWindows], plan: MixturePlan) -> None:
        self._sources, self.plan = sources, plan

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """As `ShuffledWindows.batch`. Document ids tell the documents of one window apart, not those of two corpora."""
        places = [self.plan.at(index) for index in range(first, first + count)]
        samples = [self._sources[source].sample(own) for source, own in places]
        return np.stack([tokens for tokens, _ in samples]), np.stack([ids for _, ids in samples])

    def documents(self, index: int) -> tuple[Document, ...]:
        """The documents with a token in sample `index`, in order."""
        source, own = self.plan.at(index)
        return self._sources[source].documents(own)

    def read(self, samples: int) -> list[tuple[int, float]]:
        """(samples, epochs) of each source among the first `samples`."""
        counts = self.plan.counts(samples).tolist()
        return [(count, count / source.size) for count, source in zip(counts, self._sources, strict=True)]


def windows(
    recipe: TrainRecipe, inputs: Mapping[str, Path], seed: int
) -> ShuffledWindows | MixedWindows | StreamedWindows:
    """What the recipe reads, from the step's inputs. Raises InputError for an input that is missing or would be read too often."""
    mixture, context = recipe.mixture, recipe.model.context_tokens
    if recipe.texts is not None:
        texts = Path(recipe.texts).expanduser()
        if recipe.texts_sha256 and hash_file(texts) != recipe.texts_sha256:
            raise InputError.of("texts", recipe.texts, "it has changed; build again to use it as it is")
        tokenizer = inputs["data"] / "tokenizer" / "tokenizer.json"
        return StreamedWindows(texts, tokenizer, context, seed, recipe.workers, recipe.batch_sequences)
    if not mixture.sources:
        return ShuffledWindows(PackedTokens(inputs["data"] / "train", context, seed), seed)
    missing = [one.input for one in mixture.sources if one.input not in inputs]
    if missing:
        raise InputError.of("mixture.sources.input", missing[0], f"the step has the inputs {', '.join(inputs)}")
    own = [ShuffledWindows(PackedTokens(inputs[s.input] / "train", context, seed), seed) for s in mixture.sources]
    weights, stretches, first = [source.weight for source in mixture.sources], [], 0
    for phase, until in mixture.ends(recipe.steps):
        stretches.append(Stretch(first, Turns(phase.weights or weights)))
        first = recipe.tokens_until(until) // context
    mixed = MixedWindows(own, MixturePlan([*stretches, Stretch(first, Turns(weights))]))
    total = recipe.tokens() // context
    for source, (samples, epochs) in zip(mixture.sources, mixed.read(total), strict=True):
        if epochs > source.epochs:
            mend = f"{source.input} would be read {epochs:.3g} times ({samples:,} windows); allow that, give it less weight, or more text"
            raise InputError.of("mixture.sources.epochs", source.epochs, mend)
    return mixed


def cut(tokens_BT: Tensor, ids_BT: Tensor, context_tokens: int) -> tuple[Tensor, Tensor]:
    """Windows of T + 1 tokens as shorter ones of `context_tokens` + 1: each token is an input once and a target once, as before."""
    if tokens_BT.shape[1] == context_tokens + 1:
        return tokens_BT, ids_BT
    return (x.unfold(1, context_tokens + 1, context_tokens).flatten(0, 1) for x in (tokens_BT, ids_BT))  # pyright: ignore[reportReturnType]
