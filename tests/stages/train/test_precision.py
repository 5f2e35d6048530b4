"""The recipe's precision decides every product: in the passes, and in the optimiser's Newton-Schulz steps."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from aether.models.config import DecoderConfig
from aether.spec.errors import InputError
from aether.spec.run import StepContext
from aether.stages.train.fakes import CountingTokens
from aether.stages.train.loop import Loop, new_state
from aether.stages.train.recipe import TrainRecipe

CONFIG = DecoderConfig(
    vocab_size=40, hidden_size=32, layers=2, heads=2, kv_heads=1, head_size=16, mlp_size=48, context_tokens=16
)  # fmt: skip
PRODUCTS = ("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm", "aten::_softmax")


class _TypesSeen(TorchDispatchMode):
    """The element types of every operation's tensors, and those of the matrix products apart."""

    def __init__(self) -> None:
        super().__init__()
        self.all: set[torch.dtype] = set()
        self.products: set[torch.dtype] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        seen = {a.dtype for a in (*args, out) if isinstance(a, torch.Tensor) and a.is_floating_point()}
        self.all |= seen
        if func.name().split(".")[0] in PRODUCTS:
            self.products |= seen
        return out


@pytest.mark.parametrize("precision, products", [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_products_have_the_recipes_precision(tmp_path, precision, products):
    torch.set_num_threads(1)
    recipe = TrainRecipe(model=CONFIG, steps=2, batch_sequences=2, precision=precision)
    context = StepContext("train", tmp_path, {}, 0, 1, lambda progress: None)
    with _TypesSeen() as seen:
        Loop(recipe, new_state(recipe, 0), CountingTokens(40, 16), context).run("test")
    assert seen.products == {products}
    assert torch.float16 not in seen.all
    if precision == "float32":
        assert torch.bfloat16 not in seen.all


@pytest.mark.parametrize(
    "precision, said",
    [
        ("float8", r"precision = 'float8': .* never run here, .* use bfloat16"),
        ("fp8", r"precision = 'fp8': .* use bfloat16"),
        ("fp16", r"precision = 'fp16': it is named float16 and needs loss_scale"),
        ("float16", r"precision = 'float16': without loss scaling .* set loss_scale"),
    ],
)
def test_what_is_not_trained_in_is_refused_in_a_sentence(precision, said):
    with pytest.raises(InputError, match=said):
        TrainRecipe.model_validate({"model": CONFIG, "steps": 1, "precision": precision})
