"""Windows in a shuffled order: a batch of neighbours would be one file over and over.

`PackedTokens` shuffles documents, so neighbouring windows are of one document and their gradients say nearly the same.
Here the windows of each block (one epoch, to the last whole window) are permuted by (seed, block). Still every window
once per block, any sample at once from its index, nothing random left to remember.

Shapes: B windows, T tokens.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from aether.evidence.hashing import hash_file
from aether.models.corpus import Document
from aether.models.packing import PackedTokens, mix64
from aether.spec.errors import InputError
from aether.stages.train.mixing import MixturePlan, Stretch, Turns
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.streaming import StreamedWindows
from aether.stages.train.tokenising import Tokenising

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
    """Several corpora, whose turns `plan` gives; each in its own shuffled order, none again before all of it was read.

    Of a text that is tokenised meanwhile, samples older than `keep` may not be asked for again.
    """

    def __init__(
        self, sources: Mapping[str, ShuffledWindows | StreamedWindows], plan: MixturePlan, keep: int = 0
    ) -> None:
        self._sources, self.plan, self._keep = list(sources.values()), plan, keep
        places = enumerate(sources.items())
        self._streamed = {name: (place, one) for place, (name, one) in places if isinstance(one, StreamedWindows)}

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """As `ShuffledWindows.batch`. Document ids tell the documents of one window apart, not those of two corpora."""
        places = [self.plan.at(index) for index in range(first, first + count)]
        samples = [self._sources[source].sample(own) for source, own in places]
        before = self.plan.counts(max(0, first - self._keep))
        for place, source in self._streamed.values():
            source.forget(int(before[place]))
        return np.stack([tokens for tokens, _ in samples]), np.stack([ids for _, ids in samples])

    def documents(self, index: int) -> tuple[Document, ...]:
        """The documents with a token in sample `index`, in order."""
        source, own = self.plan.at(index)
        return self._sources[source].documents(own)

    def read(self, samples: int) -> list[tuple[int, float]]:
        """(samples, epochs) of each source among the first `samples`; of a streamed one, which must be there, to a block."""
        counts = zip(self.plan.counts(samples).tolist(), self._sources, strict=True)
        return [(n, n / one.size if isinstance(one, ShuffledWindows) else one.epochs(n)) for n, one in counts]

    def will_read(self, samples: int) -> list[tuple[int, float]]:
        """As `read`, before anything was: the size of a streamed source is estimated from its first block."""
        counts = zip(self.plan.counts(samples).tolist(), self._sources, strict=True)
        sizes = (one.size if isinstance(one, ShuffledWindows) else one.windows_of_an_epoch() for one in self._sources)
        return [(n, n / size) for (n, _), size in zip(counts, sizes, strict=True)]

    def ready(self) -> None:
        """Start the workers, and have the first windows of every text at hand."""
        for _, source in self._streamed.values():
            source.ready()

    def state(self, cursor: int) -> dict[str, Any]:
        """As JSON: where each text that is tokenised meanwhile goes on at sample `cursor`."""
        counts = self.plan.counts(cursor)
        return {name: one.state(int(counts[place])) for name, (place, one) in self._streamed.items()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        for name, (_, source) in self._streamed.items():
            source.load(state[name])

    def close(self) -> None:
        """End the workers."""
        for _, source in self._streamed.values():
            source.close()


def windows(
    recipe: TrainRecipe, inputs: Mapping[str, Path], seed: int
) -> ShuffledWindows | MixedWindows | StreamedWindows:
    """What the recipe reads, from the step's inputs. Raises InputError for an input that is missing or would be read too often."""
    mixture, context = recipe.mixture, recipe.model.context_tokens
    streamed = _streamed(recipe, inputs["data"], seed)
    if not mixture.sources:
        return streamed.get("") or ShuffledWindows(PackedTokens(inputs["data"] / "train", context, seed), seed)
    own: dict[str, ShuffledWindows | StreamedWindows] = {}
    for name in (one.input for one in mixture.sources):
        if (name in streamed) == (name in inputs):
            held = f"the step has the inputs {', '.join(inputs)}"
            mend = (
                f"{held}, and texts has it too; leave one out" if name in streamed else f"{held}; texts has it neither"
            )
            raise InputError.of("mixture.sources.input", name, mend)
        own[name] = streamed.get(name) or ShuffledWindows(PackedTokens(inputs[name] / "train", context, seed), seed)
    weights, stretches, first = [source.weight for source in mixture.sources], [], 0
    for phase, until in mixture.ends(recipe.steps):
        stretches.append(Stretch(first, Turns(phase.weights or weights)))
        first = recipe.tokens_until(until) // context
    plan = MixturePlan([*stretches, Stretch(first, Turns(weights))])
    mixed = MixedWindows(own, plan, recipe.batch_sequences)
    total = recipe.tokens() // context
    for source, (samples, epochs) in zip(mixture.sources, mixed.will_read(total), strict=True):
        if epochs > source.epochs:
            mend = f"{source.input} would be read {epochs:.3g} times ({samples:,} windows); allow that, give it less weight, or more text"
            raise InputError.of("mixture.sources.epochs", source.epochs, mend)
    return mixed


def _streamed(recipe: TrainRecipe, data: Path, seed: int) -> dict[str, StreamedWindows]:
    """The recipe's texts by source, one supply for all; a text that is read alone has no name."""
    files = {name: Path(text).expanduser() for name, text in recipe.texts_by_source().items()}
    known = recipe.texts_sha256 if isinstance(recipe.texts_sha256, dict) else {"": recipe.texts_sha256}
    for name, file in files.items():
        if known.get(name) and hash_file(file) != known[name]:
            raise InputError.of("texts", str(file), "it has changed; build again to use it as it is")
    if not files:
        return {}
    supply = Tokenising([*files.values()], data / "tokenizer" / "tokenizer.json", seed, recipe.workers)
    context, keep = recipe.model.context_tokens, recipe.batch_sequences
    return {name: StreamedWindows(supply, place, context, seed, keep) for place, name in enumerate(files)}


def cut(tokens_BT: Tensor, ids_BT: Tensor, context_tokens: int) -> tuple[Tensor, Tensor]:
    """Windows of T + 1 tokens as shorter ones of `context_tokens` + 1: each token is an input once and a target once, as before."""
    if tokens_BT.shape[1] == context_tokens + 1:
        return tokens_BT, ids_BT
    return (x.unfold(1, context_tokens + 1, context_tokens).flatten(0, 1) for x in (tokens_BT, ids_BT))  # pyright: ignore[reportReturnType]
