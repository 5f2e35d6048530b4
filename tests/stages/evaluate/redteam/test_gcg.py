"""Greedy coordinate gradient against brute force on a model of a few thousand weights."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from aether.stages.evaluate.redteam.gcg import Prompt, Search, gradient, losses_of, search_suffix, step

V, S = 24, 4


@pytest.fixture(autouse=True)
def one_thread():
    """Threads of such a small model only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    shape = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
    }
    made = LlamaForCausalLM(LlamaConfig(vocab_size=V, **shape)).double().eval()
    for name, parameter in made.named_parameters():
        if "norm" not in name:
            # Wide weights: the loss then depends on the suffix.
            torch.nn.init.normal_(parameter, std=0.6)
    return made


PROMPT = Prompt(torch.tensor([1, 2, 3]), torch.tensor([4]), torch.tensor([5, 6]))
SUFFIX = torch.tensor([7, 8, 9, 10])
ALL = torch.ones(V, dtype=torch.bool)


def test_the_gradient_is_that_of_finite_differences(model):
    found, table = gradient(model, PROMPT, SUFFIX), model.get_input_embeddings().weight.detach()

    def loss(one_hot):
        middle = one_hot @ table
        around = [table[PROMPT.before_P], middle, table[torch.cat([PROMPT.after, PROMPT.target_T])]]
        with torch.no_grad():
            logits = model(inputs_embeds=torch.cat(around)[None]).logits[0, -3:-1]
        return torch.nn.functional.cross_entropy(logits, PROMPT.target_T)

    one_hot, eps = torch.nn.functional.one_hot(SUFFIX, V).double(), 1e-3
    slopes, ours = [], []
    for place in range(S):
        for token in range(0, V, 5):
            bump = torch.zeros(S, V, dtype=torch.float64)
            bump[place, token] = eps
            slopes.append((loss(one_hot + bump) - loss(one_hot - bump)) / (2 * eps))
            ours.append(found[place, token])
    slopes, ours = torch.stack(slopes), torch.stack(ours)
    # Norms and softmax of this library compute in float32, so differences hold to three digits of the largest.
    assert (slopes - ours).abs().max() < 5e-3 * slopes.abs().max() and slopes.abs().max() > 0.1


def test_a_step_that_tries_everything_is_the_best_single_replacement(model):
    every = [SUFFIX]
    for place in range(S):
        for token in range(V):
            other = SUFFIX.clone()
            other[place] = token
            every.append(other)
    losses = losses_of(model, PROMPT, torch.stack(every))
    one_by_one = torch.stack([losses_of(model, PROMPT, s[None])[0] for s in every])
    assert torch.allclose(losses, one_by_one)
    new, loss = step(model, PROMPT, SUFFIX, Search(1, V, S * V), ALL, torch.Generator())
    assert loss == pytest.approx(losses.min().item()) and (new != SUFFIX).sum() <= 1
    assert torch.equal(new, every[int(losses.argmin())])


def test_promising_replacements_are_better_than_any(model):
    """The gradient's choice of a few beats as many drawn at random, over suffixes."""
    won = 0
    generator = torch.Generator().manual_seed(1)
    for seed in range(12):
        start = torch.randint(V, (S,), generator=torch.Generator().manual_seed(seed))
        _, by_gradient = step(model, PROMPT, start, Search(1, 3, 12), ALL, generator)
        _, at_random = step(model, PROMPT, start, Search(1, V, 12), ALL, generator)
        won += by_gradient <= at_random
    assert won >= 8


def test_the_loss_goes_down_and_only_allowed_tokens_come_in(model):
    allowed = ALL.clone()
    allowed[12:] = False
    found = search_suffix(model, PROMPT, SUFFIX, Search(8, 8, 24), allowed)
    assert (
        all(b <= a for a, b in zip(found.losses, found.losses[1:], strict=False))
        and found.losses[-1] < 0.95 * found.losses[0]
    )
    assert allowed[found.suffix_S].all()
    assert float(losses_of(model, PROMPT, found.suffix_S[None])[0]) == pytest.approx(found.losses[-1])
    again = search_suffix(model, PROMPT, SUFFIX, Search(8, 8, 24), allowed)
    assert torch.equal(again.suffix_S, found.suffix_S)
