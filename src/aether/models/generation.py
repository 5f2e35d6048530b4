"""Greedy continuation of many prompts at once over a `KVCache`: for evaluation and timing. The server has its own loop.

Prompts of like length share a batch; a finished sequence gives its slot to the last running one, so the running ones
stay at the front. A prompt that leaves no room for its continuation loses its beginning. No sampling, no streaming.

Shapes: B running sequences, T tokens of the longest prompt, V vocabulary.
"""

from collections.abc import Callable, Sequence

import torch

from aether.models.cache import KVCache
from aether.models.decoder import Decoder

Stop = Callable[[int, list[int]], bool]
"""stop(prompt index, tokens so far): whether the continuation is complete."""


@torch.inference_mode()
def greedy(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    stop: Stop = lambda index, tokens: False,
    *,
    batch: int = 64,
    end_id: int = 0,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> list[list[int]]:
    """The continuation of each prompt: at most `max_new_tokens`, cut when `stop` says so or the end token comes.

    The end token is not part of a continuation. `tell(done, total)` hears of finished prompts after each batch.
    """
    room = model.config.context_tokens - max_new_tokens
    assert room > 0 and all(prompts), "a prompt needs a token, and the context room for it"
    found: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda index: (-min(len(prompts[index]), room), index))
    for begin in range(0, len(order), batch):
        chosen = order[begin : begin + batch]
        kept = [list(prompts[index][-room:]) for index in chosen]
        for index, tokens in zip(chosen, _batch(model, kept, max_new_tokens, (chosen, stop, end_id)), strict=True):
            found[index] = tokens
        tell(begin + len(chosen), len(prompts))
    return found


def _batch(
    model: Decoder, prompts: list[list[int]], max_new_tokens: int, until: tuple[list[int], Stop, int]
) -> list[list[int]]:
    names, stop, end_id = until
    device = model.embedding.device
    width = max(len(prompt) for prompt in prompts)
    cache = KVCache.allocate(model.config, len(prompts), width + max_new_tokens, model.embedding.dtype, device)
    input_BT = torch.zeros(len(prompts), width, dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        input_BT[row, : len(prompt)] = torch.tensor(prompt)
    logits_BV = model.extend(input_BT.to(device), cache, counts=[len(prompt) for prompt in prompts])
    found: list[list[int]] = [[] for _ in prompts]
    running = list(range(len(prompts)))
    for _ in range(max_new_tokens):
        last = logits_BV.argmax(-1).tolist()
        for row in reversed(range(len(running))):
            place = running[row]
            if last[row] != end_id:
                found[place].append(last[row])
            if last[row] == end_id or stop(names[place], found[place]):
                cache.move(len(running) - 1, row)
                if row == len(running) - 1:
                    cache.free(row)
                running[row], last[row] = running[-1], last[-1]
                running.pop()
                last.pop()
        if not running:
            break
        # The last token of the last round is not fed: nothing would read its logits.
        if max(len(found[place]) for place in running) == max_new_tokens:
            break
        logits_BV = model.extend(torch.tensor(last, device=device)[:, None], cache)
    return found
