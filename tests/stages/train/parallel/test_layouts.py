"""What a layout may be: each refusal is one sentence, and a recipe for one process is the recipe it always was."""

import pytest
from team_runs import TOY, toy_recipe

from aether.models.config_parts import Mixture
from aether.spec.errors import InputError
from aether.stages.train.parallel.muon import owners, rounds
from aether.stages.train.parallel.pieces import Block, cut, rows_between, whole_blocks
from aether.stages.train.parallel.recipe import Parallel, check_batch, check_world, largest_pass, passes, share


@pytest.mark.parametrize(
    ("layout", "changes", "sentence"),
    [
        ({"tensor": 3}, {}, "parallel.tensor = 3: it must divide model.heads = 4"),
        ({"tensor": 4}, {}, "parallel.tensor = 4: it must divide model.kv_heads = 2"),
        ({"pipeline": 3}, {}, "parallel.pipeline = 3: it must divide model.layers = 4"),
        ({"context": 3}, {}, "model.context_tokens = 16: context x tensor cut it into 6 pieces"),
        ({"context": 4, "attention": "ulysses"}, {}, "parallel.context = 4: model.kv_heads = 2 must be a multiple"),
        ({"expert": 2}, {}, "parallel.expert = 2: the model has no experts; use shard"),
        ({"shard": 13}, {}, "batch_sequences = 12: replicate x expert x shard = 13 processes need a window each"),
        ({"shard": 5}, {"micro_batch_sequences": 1}, "micro_batch_sequences = 1: of 12 windows over 5 processes some would"),
        ({"pipeline": 2}, {"micro_batch_sequences": 12}, "micro_batch_sequences = 12: a pipeline of 2 stages needs as many"),
        ({"pipeline": 2, "shard": 5}, {}, "batch_sequences = 12: passes of a pipeline are of one size, and 5"),
        ({"shard": 2}, {"compile": "blocks"}, 'compile = \'blocks\': several processes run plain blocks'),
    ],
)  # fmt: skip
def test_a_layout_that_does_not_fit_is_refused_in_a_sentence(layout, changes, sentence):
    with pytest.raises(InputError) as error:
        toy_recipe(parallel=layout, **changes)
    assert str(error.value).startswith(sentence) and "\n" not in str(error.value)


def test_parts_that_cannot_be_cut_are_named():
    windowed = TOY.model_copy(update={"window": 8})
    with pytest.raises(InputError, match=r"parallel.context = 2: model.window = 8 is not cut"):
        toy_recipe(model=windowed, parallel={"context": 2})
    mixture = TOY.model_copy(update={"experts": Mixture(count=6, active=2)})
    with pytest.raises(InputError, match=r"parallel.expert = 4: it must divide experts.count = 6"):
        toy_recipe(model=mixture, parallel={"expert": 4})


def test_the_world_must_be_the_product():
    layout = Parallel(shard=2, tensor=2)
    check_world(layout, 4)
    with pytest.raises(InputError, match=r"parallel = 4: torchrun started 3"):
        check_world(layout, 3)


def test_a_recipe_for_one_process_says_nothing_of_it():
    assert "parallel" not in toy_recipe().model_dump(mode="json")
    assert toy_recipe(parallel={"shard": 2}).model_dump(mode="json")["parallel"]["shard"] == 2


def test_blocks_follow_every_cut():
    """Rows 3 .. 9 of this process's half of a fused (8 + 4)-row matrix: rows 3 of the first, all of the second's half."""
    fused = cut(whole_blocks("qkv", (12, 6), [8, 4]), 0, 1, 2)
    assert fused == [Block("qkv.0", (8, 6), (4, 0), (4, 6)), Block("qkv.1", (4, 6), (2, 0), (2, 6))]
    assert rows_between(fused, 3, 6) == [Block("qkv.0", (8, 6), (7, 0), (1, 6)), Block("qkv.1", (4, 6), (2, 0), (2, 6))]
    assert cut(whole_blocks("out", (4, 6), None), 1, 2, 3) == [Block("out", (4, 6), (0, 4), (4, 2))]


def test_the_work_of_muon_is_shared_out_evenly():
    shapes = {f"m{i}": (8, 8 * (1 + i % 2)) for i in range(8)}
    found = owners({name: [0, 1] for name in shapes}, shapes)
    for size in (8, 16):
        of_size = [rank for name, rank in found.items() if shapes[name][1] == size]
        assert sorted(of_size) == [0, 0, 1, 1]
    assert owners({"only": [3]}, {"only": (2, 2)}) == {"only": 3}
    assert rounds(shapes, 300) == [["m1", "m3"], ["m5", "m7"], ["m0", "m2", "m4", "m6"]]
    assert rounds(shapes, 1) == [[name] for name in ("m1", "m3", "m5", "m7", "m0", "m2", "m4", "m6")]


def test_every_window_of_a_batch_is_in_one_pass_of_one_process():
    for sequences in range(1, 14):
        for readers in range(1, sequences + 1):
            for micro in (None, *range(2, sequences + 1)):
                check_batch(Parallel(shard=readers), sequences, micro)
                count, most, found = passes(sequences, readers, micro), largest_pass(sequences, readers, micro), []
                for reader in range(readers):
                    own = share(sequences, readers, reader)
                    parts = [own[i] for place in range(count) for i in share(len(own), count, place)]
                    sizes = [len(share(len(own), count, place)) for place in range(count)]
                    assert min(sizes) >= 1 and max(sizes) <= min(most, micro or sequences)
                    found += parts
                assert found == list(range(sequences))
