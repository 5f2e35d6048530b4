"""Signals that a model saw a text in training, and how little they prove.

Min-K%++ (Zhang et al., arXiv 2404.02936, equation 3): the mean over the k % least likely tokens of (log p(token) - mu) / sigma, where mu and
sigma are of log p over the vocabulary at that place. Perturbation gap (after Mattern et al., arXiv 2305.18462, the neighbourhood attack): loss of
the text with neighbouring words swapped less its own. Both are read against a control set that the model cannot have seen: alone they say nothing, and a
control that differs in topic or date makes a difference by itself.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from aether.evidence.statistics import Measurement, mean
from aether.spec.errors import InputError

SHARE = 0.2
SWAPS = 0.1
"""Share of the words that change place with the next one, in each of the perturbed texts (assumed)."""
PERTURBED = 4
MAX_TOKENS = 1024


@dataclass(frozen=True)
class Signal:
    """One signal over suspected texts and controls. An area of 0.5 tells nothing apart."""

    name: str
    suspected: Measurement
    control: Measurement
    area: float
    """Chance that a suspected text scores above a control (area under the ROC curve)."""
    p_value: float
    """Two-sided Mann-Whitney."""


def signals(model: Path, suspected: Sequence[str], control: Sequence[str], seed: int = 0) -> tuple[Signal, ...]:
    """Both signals of a local model. Raises InputError for fewer than ten texts on either side."""
    if min(len(suspected), len(control)) < 10:
        raise InputError.of("control", (len(suspected), len(control)), "give at least ten texts of each")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    net = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()

    def scored(texts: Sequence[str]) -> list[tuple[float, float]]:
        return [_both(net, tokenizer, text, random.Random(f"{seed}{text}")) for text in texts]

    one, other = np.array(scored(suspected)), np.array(scored(control))
    found = []
    for column, name in enumerate(("Min-K%++", "perturbation gap")):
        x, y = one[:, column], other[:, column]
        test = stats.mannwhitneyu(x, y, alternative="two-sided")
        found.append(Signal(name, mean(x), mean(y), float(test.statistic) / (len(x) * len(y)), float(test.pvalue)))
    return tuple(found)


def _both(net: torch.nn.Module, tokenizer: object, text: str, rng: random.Random) -> tuple[float, float]:
    own, scores = _log_probabilities(net, tokenizer, text)
    count = max(1, int(SHARE * len(scores)))
    lowest = float(np.sort(scores)[:count].mean())
    gaps = [
        float(own.mean() - _log_probabilities(net, tokenizer, _swapped(text, rng))[0].mean()) for _ in range(PERTURBED)
    ]
    return lowest, float(np.mean(gaps))


@torch.inference_mode()
def _log_probabilities(net: torch.nn.Module, tokenizer: object, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Of each token after the first: its log-probability in nats, and how many standard deviations that is from the mean."""
    ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=MAX_TOKENS).input_ids  # pyright: ignore[reportCallIssue]
    if ids.shape[1] < 2:
        raise InputError.of("text", text[:60], "it has fewer than two tokens")
    log_TV = torch.log_softmax(net(ids).logits[0, :-1].float(), dim=-1)
    own_T = log_TV.gather(1, ids[0, 1:, None])[:, 0]
    chance_TV = log_TV.exp()
    mu_T = (chance_TV * log_TV).sum(-1)
    sigma_T = ((chance_TV * log_TV**2).sum(-1) - mu_T**2).clamp_min(1e-12).sqrt()
    return own_T.numpy(), ((own_T - mu_T) / sigma_T).numpy()


def _swapped(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    if len(words) < 2:
        return text
    for at in rng.sample(range(len(words) - 1), max(1, int(SWAPS * (len(words) - 1)))):
        words[at], words[at + 1] = words[at + 1], words[at]
    return " ".join(words)
