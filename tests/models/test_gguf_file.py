import gguf
import pytest
import torch
from tiny_served_model import CONFIG

from aether.models.decoder import Decoder
from aether.models.gguf_file import LARGEST_VOCABULARY, TOKEN_ZERO, finish, tokens_of, write_gguf
from aether.models.gguf_given import copy_with_ids, decoder_of, main_type, read_file, shape_of
from aether.models.gguf_names import own_name
from aether.models.parts.decoder import decoder
from aether.models.weights import to_named, to_qwen3
from aether.spec.errors import InputError


@pytest.fixture(scope="module")
def weights():
    model = Decoder(CONFIG)
    model.initialise(1)
    return to_qwen3(model)


def test_the_file_has_every_tensor_and_number(tmp_path, weights):
    path = tmp_path / "model.gguf"
    write_gguf(path, CONFIG, weights, "float32")
    reader = gguf.GGUFReader(path)
    assert len(reader.tensors) == len(weights)
    stored = {tensor.name: tensor.data for tensor in reader.tensors}
    assert (torch.tensor(stored["blk.1.ffn_down.weight"]) == weights["model.layers.1.mlp.down_proj.weight"]).all()
    assert reader.fields["qwen3.attention.head_count_kv"].contents() == CONFIG.kv_heads
    assert reader.fields["qwen3.context_length"].contents() == CONFIG.context_tokens


def test_half_precision_halves_the_matrices_and_keeps_the_norms(tmp_path, weights):
    path = tmp_path / "model.gguf"
    write_gguf(path, CONFIG, weights, "float16")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}
    assert kinds["token_embd.weight"] == "F16" and kinds["output_norm.weight"] == "F32"


def test_tokens_are_characters():
    assert tokens_of("".join(chr(TOKEN_ZERO + token) for token in (0, 5, LARGEST_VOCABULARY - 1))) == [
        0, 5, LARGEST_VOCABULARY - 1
    ]  # fmt: skip


def test_what_does_not_fit_is_refused(tmp_path, weights):
    big = CONFIG.model_copy(update={"vocab_size": LARGEST_VOCABULARY + 1})
    with pytest.raises(InputError, match="vocab_size"):
        write_gguf(tmp_path / "model.gguf", big, weights, "float32")
    for part, value in (("window", 6), ("mixer", "mamba2"), ("norm_place", "post"), ("sink_logits", True)):
        with pytest.raises(InputError, match=rf"model\.{part} = {value!r}: a GGUF file"):
            write_gguf(tmp_path / "model.gguf", CONFIG.model_copy(update={part: value}), weights, "float32")
    wide = {"model.embed_tokens.weight": torch.full((2, 2), 1e6)}
    with pytest.raises(InputError, match="float16"):
        write_gguf(tmp_path / "model.gguf", CONFIG, wide, "float16")


def test_a_quantised_file_is_copied_as_it_is_or_in_the_type_that_is_asked_for(tmp_path):
    wide = CONFIG.model_copy(update={"hidden_size": 64, "mlp_size": 128, "head_size": 16})
    model = Decoder(wide)
    model.initialise(1)
    write_gguf(tmp_path / "plain.gguf", wide, to_qwen3(model), "float32")
    plain, kind = gguf.GGUFReader(tmp_path / "plain.gguf"), gguf.GGMLQuantizationType.Q4_1
    writer = gguf.GGUFWriter(tmp_path / "given.gguf", "qwen3")
    for name, field in plain.fields.items():
        if name.startswith("qwen3."):
            writer.add_key_value(name, field.contents(), field.types[0])
    writer.add_token_list(["a", "b", "c"])
    for tensor in plain.tensors:
        flat = tensor.data.ndim < 2
        writer.add_tensor(tensor.name, tensor.data if flat else gguf.quants.quantize(tensor.data, kind), raw_dtype=None if flat else kind)  # fmt: skip
    finish(writer)
    given = read_file(tmp_path / "given.gguf")
    assert main_type(given) == "Q4_1"
    shape = shape_of(given)
    assert shape == wide.model_copy(update={"vocab_size": 3, "norm_eps": shape.norm_eps})
    assert shape.norm_eps == pytest.approx(wide.norm_eps)
    copy_with_ids(given, tmp_path / "same.gguf")
    copy_with_ids(given, tmp_path / "wide.gguf", "float32")
    same, widened = (gguf.GGUFReader(tmp_path / name) for name in ("same.gguf", "wide.gguf"))
    assert main_type(widened) == "F32"
    for before, after, expanded in zip(given.tensors, same.tensors, widened.tensors, strict=True):
        assert before.tensor_type == after.tensor_type and (before.data == after.data).all()
        assert (gguf.quants.dequantize(before.data, before.tensor_type) == expanded.data).all()
    assert "".join(same.fields["tokenizer.ggml.tokens"].contents()) == "".join(chr(TOKEN_ZERO + at) for at in range(3))


def test_a_llama_file_is_the_decoder_that_wrote_it(tmp_path):
    model = decoder(CONFIG.model_copy(update={"qk_norm": "none"}))
    model.initialise(3)
    write_gguf(tmp_path / "model.gguf", model.config, to_named(model), "float32")
    found = decoder_of(read_file(tmp_path / "model.gguf"))
    tokens = torch.arange(1, 40)[None]
    with torch.no_grad():
        torch.testing.assert_close(found(tokens), model(tokens), rtol=0, atol=1e-6)
    assert found.config.qk_norm == "none"


def test_a_head_of_its_own_is_refused_by_name():
    assert (
        own_name("output.weight") is None
        and own_name("blk.3.attn_q.weight") == "model.layers.3.self_attn.q_proj.weight"
    )
