import json

import gguf
import pytest
import torch
from tiny_gguf import write_chat_gguf
from tiny_served_model import CONFIG, write_model

from aether.models.generation import greedy
from aether.models.packed import Chunk, PackedDecoder
from aether.spec.errors import InputError
from aether.stages.serve.engine import Generation
from aether.stages.serve.llama_engine import LlamaModel
from aether.stages.serve.loading import load_served, resolve_dtype
from aether.stages.serve.recipe import EngineRecipe
from aether.stages.serve.sampling import Sampling

ENGINE = EngineRecipe(slots=2, dtype="float32")
MESSAGES = [{"role": "system", "content": "a"}, {"role": "user", "content": "b{{ 1 + 1 }}"}]


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "step" / "model")


def test_a_base_model_continues_the_texts_of_the_messages(folder):
    served = load_served(folder, ENGINE)
    assert served.chat_prompt(MESSAGES) == "a\n\nb{{ 1 + 1 }}"
    assert served.encode("x")[0] == 0 and served.encode("<|endoftext|>x")[:2] != [0, 0]
    assert (served.name, served.context_tokens, served.dtype) == ("step", 96, "float32")


def test_a_template_is_rendered_in_a_sandbox_and_messages_stay_text(folder):
    path = folder / "tokenizer_config.json"
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))
    assert load_served(folder, ENGINE).chat_prompt(MESSAGES) == "<system>a<user>b{{ 1 + 1 }}"
    path.write_text(json.dumps({"chat_template": "{{ messages.__class__.__mro__ }}"}))
    served = load_served(folder, ENGINE)
    with pytest.raises(Exception, match=r"unsafe|undefined"):
        served.chat_prompt(MESSAGES)
    path.write_text(json.dumps({"chat_template": "{% for"}))
    with pytest.raises(InputError, match="chat_template"):
        load_served(folder, ENGINE)


def test_a_decoder_with_exchanged_parts_is_served_by_our_own_engine_alone(tmp_path):
    write_model(tmp_path / "model", CONFIG.model_copy(update={"window": 8}))
    served = load_served(tmp_path / "model", ENGINE)
    assert (served.engine, served.context_tokens) == ("packed", 96)
    with pytest.raises(InputError, match=r"model\.window = 8: a GGUF file"):
        load_served(tmp_path / "model", EngineRecipe(slots=2, engine="llama.cpp"))


def test_types():
    assert resolve_dtype("bfloat16") is torch.bfloat16 and resolve_dtype("float32") is torch.float32
    assert resolve_dtype("auto") in (torch.float32, torch.bfloat16)


def test_a_gguf_file_is_served_as_it_is_with_its_own_tokenizer_and_template(tmp_path):
    path = tmp_path / "small.gguf"
    model = write_chat_gguf(path, "smollm")
    served = load_served(path, EngineRecipe(slots=2))
    assert (served.name, served.dtype, served.engine, served.eos_tokens) == ("small", "F32", "llama.cpp", {1, 2})
    prompt = served.encode(served.chat_prompt(MESSAGES))
    assert served.decode(prompt) == "system: a\nuser: b{{ 1 + 1 }}\n" and served.bos_token is None
    written: list[int] = []
    asked = Generation(prompt, 8, Sampling.of(0.0, 1.0, None))
    assert isinstance(served.model, LlamaModel)
    served.model.complete(asked, lambda token: written.append(token) or len(written) == 8)
    assert written == greedy(model, [prompt], 8)[0]
    served.model.close()
    ours = load_served(path, EngineRecipe(engine="packed", slots=1, dtype="float32"))
    assert ours.engine == "packed" and isinstance(ours.model, PackedDecoder)
    chunk = Chunk(row=0, start=0, first=0, count=len(prompt))
    first = ours.model.step(prompt, range(len(prompt)), 0, [chunk], [len(prompt) - 1])
    assert int(first.argmax()) == written[0]


def test_a_file_that_is_no_gguf_and_one_of_another_architecture_are_refused(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(InputError, match="no whole GGUF file"):
        load_served(path, ENGINE)
    writer = gguf.GGUFWriter(path, "bert")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(InputError, match=r"general\.architecture = 'bert'"):
        load_served(path, ENGINE)
