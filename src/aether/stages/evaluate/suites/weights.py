"""Weights as lm-evaluation-harness's model, with whole texts scored as the tokenizer's own configuration says.

lm-eval (0.4.13) scores whole texts in windows that follow each other without overlap, which is kept. But where a tokenizer begins a text with a
token of its own, it predicts that token from itself, and starts every window but the first without it: Gemma 3 then needs 1.9 bits
per byte where it needs 1.6. A task of lm-eval is scored so all the same, since its number is lm-eval's; our own tasks are scored here.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models import huggingface as untyped

from aether.models.gguf_tokenizer import begins

Window = tuple[list[int], list[int]]
WHOLE_TEXTS = "whole_texts"


_HFLM: Any = untyped.HFLM
"""Its decorator hides its type."""


class Weights(_HFLM):
    """A model folder or a GGUF file."""

    own_task = True
    """Whether answers end where the task says. A folder's generation_config.json may name `max_new_tokens`, which transformers puts before
    the length that lm-eval asks for: its own tasks are answered so, as on its command line."""

    def _model_generate(self, context: Any, max_length: int, stop: list[str], **options: Any) -> Any:
        settings: Any = self.model.generation_config
        named = settings.max_new_tokens
        try:
            if self.own_task:
                settings.max_new_tokens = None
            return super()._model_generate(context, max_length, stop, **options)
        finally:
            settings.max_new_tokens = named

    def whole_texts(self, requests: list[Instance]) -> list[float]:
        """Log-likelihood in nats of each whole text; the same as `loglikelihood_rolling` for a tokenizer that begins with nothing."""
        texts = [str(request.args[0]) for request in requests]
        first = begins(self.tokenizer)
        asked: list[tuple[int, Window]] = []
        for at, text in enumerate(texts):
            tokens = self.tok_encode(text, add_special_tokens=False)
            asked += [(at, window) for window in windows(tokens, self.prefix_token_id, first, self.max_length)]
        sums, left = [0.0] * len(texts), Counter(at for at, _ in asked)
        size = int(self.batch_size)
        for start in range(0, len(asked), size):
            part = asked[start : start + size]
            for (at, _), nats in zip(part, self._scored([window for _, window in part]), strict=True):
                sums[at], left[at] = sums[at] + nats, left[at] - 1
                if left[at] == 0:
                    self.cache_hook.add_partial(WHOLE_TEXTS, (texts[at],), sums[at])
        return sums

    def _scored(self, batch: list[Window]) -> list[float]:
        """Nats of each window. Without the cache: it takes two windows of equal tokens for one, wherever their scored parts begin."""
        cached, self.logits_cache = self.logits_cache, False
        try:
            found: Any = self._loglikelihood_tokens(
                [(None, *window) for window in batch], disable_tqdm=True, override_bs=len(batch)
            )
        finally:
            self.logits_cache = cached
        return [float(nats) for nats, _ in found]


def windows(tokens: list[int], prefix: int, begins_with_it: bool, context: int) -> Iterator[Window]:
    """(what stands before, what is scored) of each window, at most `context` tokens going into the model.

    Every token is scored once. The first window begins with `prefix`; the others too where texts begin with it, and with the token before.
    The last one is filled up with what stands before it, as lm-eval's is.
    """
    if tokens:
        yield [prefix], tokens[:context]
    head = [prefix] if begins_with_it else []
    step = context - len(head)
    for at in range(context, len(tokens), step):
        end = min(at + step, len(tokens))
        yield [*head, *tokens[end - step - 1 : at]], tokens[at:end]
