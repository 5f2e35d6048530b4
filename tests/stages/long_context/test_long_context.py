"""The check of a longer context: buckets that cover it, losses that agree with the model's own, keys that an oracle finds."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import make_data, make_model
from tokenizers import Tokenizer

from aether.models.decoder import Decoder
from aether.models.weights import load
from aether.spec.errors import InputError
from aether.spec.run import StepContext
from aether.stages.long_context.passkey import answer, trials
from aether.stages.long_context.positions import buckets, nats
from aether.stages.long_context.recipe import LongContextRecipe, PassKey
from aether.stages.long_context.run import run
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.run import run as train

torch.set_num_threads(1)
KEYS = PassKey(trials=3, depths=(0.2, 0.8), digits=2, choices=3, needle="\nK = {key}\n", question="\nK == ")


@given(st.integers(2, 5000), st.integers(1, 20_000))
def test_buckets_cover_the_context(old, more):
    found = buckets(old, old + more)
    assert found[0].first == 0 and found[-1].last == old + more
    assert all(a.last == b.first for a, b in itertools.pairwise(found))
    assert old in {bucket.last for bucket in found}


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """(data, the model before, the model trained on with YaRN over twice the context)."""
    folder = tmp_path_factory.mktemp("extended")
    data = make_data(folder / "data")
    one = make_model(data, folder / "one", steps=40)
    said = json.loads((one / "model" / "config.json").read_text()) | {"max_position_embeddings": 48}
    (one / "model" / "config.json").write_text(json.dumps(said))
    config = load(one / "model").config
    yarn = {"kind": "yarn", "factor": 2, "original_context_tokens": config.context_tokens}
    longer = config.model_dump() | {"context_tokens": 2 * config.context_tokens, "rope_scaling": yarn}
    recipe = TrainRecipe(
        model=longer,
        steps=25,
        batch_sequences=4,
        precision="float32",
        optimiser={"learn_block_gains": True, "muon_lr": 0.003},
    )
    train(recipe, StepContext("train", folder / "two", {"data": data, "start": one}, 0, 1, lambda progress: None))
    return data, one, folder / "two"


def test_losses_are_the_models_own(extended):
    _, one, _ = extended
    model = load(one / "model", torch.float32)
    ids = np.arange(1, 48)
    tokens = torch.from_numpy(ids)[None]
    assert nats(model, ids).mean() == pytest.approx(model.loss(tokens[:, :-1], tokens[:, 1:]).item(), rel=1e-5)


def test_the_stage_tells_positions_keys_and_short_texts(extended, tmp_path):
    data, one, two = extended
    recipe = LongContextRecipe(documents=16, pass_key=KEYS)
    context = StepContext("check", tmp_path, {"data": data, "before": one, "after": two}, 0, 1, lambda progress: None)
    found = {e.id: e for e in run(recipe, context)}
    for place in ("0-24", "24-48", "48-96"):
        change = found[f"check.loss_change.after:{place}"]
        after, before = (found[f"check.loss.{name}:{place}"].value for name in ("after", "before"))
        assert change.value == pytest.approx(after - before) and change.interval is not None
    assert found["check.loss_change.after:48-96"].interval.high < 0, (
        "beyond the old context the extended model is better"
    )
    assert found["check.passkey_said.after:96:80"].n == 3
    assert found["check.bits_per_byte_change.short"].interval is not None
    rows = [json.loads(line) for line in (tmp_path / "positions.jsonl").read_text().splitlines()]
    assert len(rows) == 3 * 3 * len({row["id"] for row in rows})
    with pytest.raises(InputError, match="must be longer"):
        run(
            recipe, StepContext("x", tmp_path, {"data": data, "before": two, "after": one}, 0, 1, lambda progress: None)
        )


class Copying(Decoder):
    """Repeats what followed the last place of the current token: an oracle for keys of any depth."""

    def hidden(self, tokens_BT, document_ids_BT=None):
        out = torch.full((*tokens_BT.shape, self.config.vocab_size), -9.0)
        for row, tokens in enumerate(tokens_BT.tolist()):
            for place in range(len(tokens)):
                earlier = [
                    i for i in range(place) if tokens[max(0, i - 1) : i + 1] == tokens[max(0, place - 1) : place + 1]
                ]
                if earlier:
                    out[row, place, tokens[earlier[-1] + 1]] = 9.0
        return out

    def logits(self, hidden, embedding_VC):
        return hidden


def test_an_oracle_finds_the_key_and_a_blind_model_does_not(extended):
    data, one, _ = extended
    tokenizer = Tokenizer.from_file(str(data / "tokenizer" / "tokenizer.json"))
    config = load(one / "model").config
    settings = PassKey(trials=6, depths=(0.0, 0.5, 1.0), digits=4, choices=4, needle="@@{key}\n", question="@@")
    fillers = [np.arange(290, 380), np.arange(380, 290, -1)]
    asked = list(trials(settings, tokenizer, fillers, [40, 48], seed=0))
    assert len(asked) == 2 * 3 * 6 and {trial.key for trial in asked} == {0, 1, 2, 3}
    for trial in asked:
        longest = max(len(one) for one in trial.choices)
        assert len(trial.prompt) + longest == trial.length
    found = [answer(Copying(config), trial) for trial in asked]
    assert np.mean([said for said, _ in found]) > 0.9 and np.mean([chosen for _, chosen in found]) > 0.9
    torch.manual_seed(0)
    blind = [answer(Decoder(config), trial) for trial in asked]
    assert not any(said for said, _ in blind) and np.mean([chosen for _, chosen in blind]) < 0.6


def test_a_length_without_room_is_refused(extended):
    data, *_ = extended
    tokenizer = Tokenizer.from_file(str(data / "tokenizer" / "tokenizer.json"))
    with pytest.raises(InputError, match="no room"):
        list(trials(KEYS, tokenizer, [np.arange(40)], [16], seed=0))
    with pytest.raises(InputError, match="once"):
        PassKey(needle="nothing")


def test_recipes_are_frozen_values(tmp_path: Path):
    assert LongContextRecipe() == LongContextRecipe.model_validate(LongContextRecipe().model_dump())
