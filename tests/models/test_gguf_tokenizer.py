import json
import string
import urllib.request
from typing import Any

import gguf
import pytest
import xllamacpp
from tiny_gguf import ODD, TEMPLATE, write_chat_gguf
from tiny_served_model import CONFIG

from aether.models.decoder import Decoder
from aether.models.gguf_byte_level import SPLITTINGS
from aether.models.gguf_file import finish, write_gguf
from aether.models.gguf_tokenizer import begins, read_tokenizer
from aether.models.weights import to_qwen3
from aether.spec.errors import InputError

PIECES = [
    "▁t",
    "he",
    "▁the",
    "▁a",
    "nd",
    "▁and",
    "in",
    "g",
    "ing",
    "re",
    "▁re",
    "th",
    "er",
    "▁c",
    "at",
    "▁cat",
    "▁ca",
    "t▁",
]
TEXTS = [
    "the cat and  the ring",
    " thing\n\nthat",
    "re<unused>the</s>x",
    "naïve 🙂 𝔘",
    "",
    "a" * 40,
    "t the athe",
    "<s>the",
]


def vocabulary():
    """(token, score, type) of a SentencePiece-like vocabulary: later pieces rank lower."""
    control = [(name, -1000.0, 3) for name in ("<unk>", "<s>", "</s>")]
    given = [("<unused>", -1000.0, 4), ("\n\n", -1000.0, 4), ("  ", -1000.0, 4)]
    octets = [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    pieces = dict.fromkeys([*PIECES, "▁", *string.ascii_letters])
    return [*control, *given, *octets, *((piece, -float(rank), 1) for rank, piece in enumerate(pieces))]


def write(folder, prefix, bos):
    rows = vocabulary()
    shape = CONFIG.model_copy(update={"vocab_size": len(rows)})
    model = Decoder(shape)
    model.initialise(1)
    write_gguf(folder / "plain.gguf", shape, to_qwen3(model), "float32")
    read = gguf.GGUFReader(folder / "plain.gguf")
    writer = gguf.GGUFWriter(folder / "model.gguf", "qwen3")
    for name, field in read.fields.items():
        if name.startswith("qwen3."):
            writer.add_key_value(name, field.contents(), field.types[0])
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token for token, _, _ in rows])
    writer.add_token_scores([score for _, score, _ in rows])
    writer.add_token_types([kind for _, _, kind in rows])
    for add, at in ((writer.add_unk_token_id, 0), (writer.add_bos_token_id, 1), (writer.add_eos_token_id, 2)):
        add(at)
    writer.add_add_space_prefix(prefix)
    writer.add_add_bos_token(bos)
    writer.add_chat_template("{{ messages[0]['content'] }}")
    for tensor in read.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    finish(writer)
    return folder / "model.gguf"


def asked_of_llama(path, texts):
    package: Any = xllamacpp
    asked = package.CommonParams()
    asked.model.path, asked.n_ctx, asked.ui, asked.warmup, asked.verbosity = str(path), 96, False, False, 0
    server = package.Server(asked)
    for text in texts:
        body = json.dumps({"content": text, "add_special": True, "parse_special": True}).encode()
        request = urllib.request.Request(
            f"{server.listening_address}/tokenize", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            yield json.loads(answer.read())["tokens"]


@pytest.mark.parametrize(("prefix", "bos"), [(False, True), (True, False)])
def test_tokens_are_those_of_llama_cpp(tmp_path, prefix, bos):
    path = write(tmp_path, prefix, bos)
    tokenizer = read_tokenizer(gguf.GGUFReader(path))
    assert tokenizer is not None and begins(tokenizer) == bos
    assert tokenizer.chat_template == "{{ messages[0]['content'] }}"
    for text, theirs in zip(TEXTS, asked_of_llama(path, TEXTS), strict=True):
        assert tokenizer(text)["input_ids"] == theirs, text


def test_a_file_of_another_kind_is_left_to_transformers(tmp_path):
    model = Decoder(CONFIG)
    model.initialise(1)
    write_gguf(tmp_path / "model.gguf", CONFIG, to_qwen3(model), "float32")
    assert read_tokenizer(gguf.GGUFReader(tmp_path / "model.gguf")) is None


@pytest.mark.parametrize("pre", SPLITTINGS)
def test_byte_level_tokens_are_those_of_llama_cpp(tmp_path, pre):
    path = tmp_path / "model.gguf"
    write_chat_gguf(path, pre)
    tokenizer = read_tokenizer(gguf.GGUFReader(path))
    assert tokenizer is not None and tokenizer.eos_token == "<|end|>" and tokenizer.chat_template == TEMPLATE
    texts = [*ODD, *TEXTS, "<|turn|>user: 100,000\n<|end|>", " x", "I'm y'ALL 7:\n\n\n1"]
    for text, theirs in zip(texts, asked_of_llama(path, texts), strict=True):
        assert tokenizer(text)["input_ids"] == theirs, text


def test_an_unknown_splitting_is_refused_by_name(tmp_path):
    write_chat_gguf(tmp_path / "model.gguf", "tekken")
    with pytest.raises(InputError, match=r"tokenizer\.ggml\.pre = 'tekken'"):
        read_tokenizer(gguf.GGUFReader(tmp_path / "model.gguf"))
