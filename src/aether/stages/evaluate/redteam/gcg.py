"""Optimised suffixes by greedy coordinate gradient: tokens after a request that make a complying answer likely. For local weights.

Follows Zou et al., arXiv 2307.15043, algorithm 1: the gradient of the target's loss by each suffix token's one-hot vector names the most promising
replacements, some are tried at random, the best is kept. As there, tokens that a tokenizer would not read back are left out. One prompt, one
model; no cache of the prefix, no buffer of past suffixes. White-box only: what it finds on weights says nothing of an endpoint.

Shapes: P prefix, S suffix, T target tokens, V vocabulary, B tries, H hidden.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Prompt:
    """Token ids around the suffix: what stands before it, what stands after it, and the answer that is made likely."""

    before_P: Tensor
    after: Tensor
    target_T: Tensor


@dataclass(frozen=True)
class Search:
    """How long and how wide is searched."""

    steps: int
    top: int
    tries: int
    seed: int = 0
    batch: int = 32


@dataclass(frozen=True)
class Found:
    """The best suffix, and the loss (nats per target token) before the first step and after each."""

    suffix_S: Tensor
    losses: tuple[float, ...]


def losses_of(model: Any, prompt: Prompt, suffixes_BS: Tensor, batch: int = 32) -> Tensor:
    """Mean cross-entropy (B,) of the target after each suffix."""
    found = []
    with torch.no_grad():
        for part in suffixes_BS.split(batch):
            n = len(part)
            pieces = [prompt.before_P.expand(n, -1), part, prompt.after.expand(n, -1), prompt.target_T.expand(n, -1)]
            logits = model(input_ids=torch.cat(pieces, 1)).logits
            found.append(_loss(logits, prompt.target_T.expand(n, -1)).mean(-1))
    return torch.cat(found)


def gradient(model: Any, prompt: Prompt, suffix_S: Tensor) -> Tensor:
    """Of the loss by the one-hot vector of each suffix token (S, V)."""
    table_VH = model.get_input_embeddings().weight
    one_hot_SV = functional.one_hot(suffix_S, table_VH.shape[0]).to(table_VH.dtype).requires_grad_(True)
    embed = model.get_input_embeddings()
    # Gemma multiplies what it looks up.
    middle_SH = one_hot_SV @ table_VH * getattr(embed, "embed_scale", 1.0)
    around = [embed(part)[None] for part in (prompt.before_P, torch.cat([prompt.after, prompt.target_T]))]
    inputs = torch.cat([around[0], middle_SH[None], around[1]], 1)
    loss = _loss(model(inputs_embeds=inputs).logits, prompt.target_T[None]).mean()
    (found,) = torch.autograd.grad(loss, one_hot_SV)
    return found


def step(
    model: Any, prompt: Prompt, suffix_S: Tensor, search: Search, allowed_V: Tensor, generator: torch.Generator
) -> tuple[Tensor, float]:
    """One step: the best of `search.tries` single replacements drawn from the `search.top` most promising ones of each place.

    With as many tries as there are replacements all are tried. Gives the suffix unchanged when none is better.
    """
    promise_SV = -gradient(model, prompt, suffix_S).float()
    promise_SV[:, ~allowed_V] = -torch.inf
    top = min(search.top, int(allowed_V.sum()))
    best_SK = promise_SV.topk(top, dim=1).indices
    every = len(suffix_S) * top
    drawn = torch.randperm(every, generator=generator)[: search.tries]
    place, rank = drawn // top, drawn % top
    tried_BS = suffix_S.repeat(len(drawn), 1)
    tried_BS[torch.arange(len(drawn)), place] = best_SK.cpu()[place, rank].to(suffix_S.device)
    losses_B = losses_of(model, prompt, torch.cat([suffix_S[None], tried_BS]), search.batch)
    winner = int(losses_B.argmin())
    return (suffix_S if winner == 0 else tried_BS[winner - 1]), float(losses_B[winner])


def search_suffix(
    model: Any,
    prompt: Prompt,
    start_S: Tensor,
    search: Search,
    allowed_V: Tensor,
    told: Callable[[int, float], None] = lambda step, loss: None,
) -> Found:
    """The suffix after `search.steps` steps from `start_S`; its loss never rises."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.eval()
    generator = torch.Generator().manual_seed(search.seed)
    suffix_S, losses = start_S, [float(losses_of(model, prompt, start_S[None])[0])]
    for number in range(search.steps):
        suffix_S, loss = step(model, prompt, suffix_S, search, allowed_V, generator)
        losses.append(loss)
        told(number + 1, loss)
    return Found(suffix_S, tuple(losses))


def readable_tokens(tokenizer: Any, size: int) -> Tensor:
    """Which tokens (V,) are text by themselves: printable ASCII, not special, and the same token when it is read back."""
    special = set(tokenizer.all_special_ids)
    kept = torch.zeros(size, dtype=torch.bool)
    for token in range(min(size, len(tokenizer))):
        if token in special:
            continue
        text = tokenizer.decode([token])
        if text.strip() and text.isascii() and text.isprintable():
            kept[token] = tokenizer.encode(text, add_special_tokens=False) == [token]
    return kept


def _loss(logits_BLV: Tensor, target_BT: Tensor) -> Tensor:
    length = target_BT.shape[1]
    predicted = logits_BLV[:, -length - 1 : -1].float()
    return functional.cross_entropy(predicted.transpose(1, 2), target_BT.expand(len(predicted), -1), reduction="none")
