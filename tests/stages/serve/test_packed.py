import pytest
import torch
from tiny_served_model import CONFIG

from aether.models.decoder import Decoder
from aether.models.weights import to_qwen3
from aether.stages.serve.packed import Chunk, PackedDecoder


@pytest.fixture(scope="module")
def pair():
    plain = Decoder(CONFIG)
    plain.initialise(1, embedding_std=0.5, matrix_scale=1.7)
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            if parameter.ndim == 1:
                parameter.copy_(torch.rand(parameter.shape, generator=torch.Generator().manual_seed(len(name))) + 0.5)
    return plain, PackedDecoder(CONFIG, to_qwen3(plain), slots=4)


def reference(plain, tokens):
    with torch.no_grad():
        return plain(tokens.unsqueeze(0))[0]


def test_chunks_and_decoding_rows_in_one_step_equal_the_plain_decoder(pair):
    plain, packed = pair
    generator = torch.Generator().manual_seed(0)
    sequences = [torch.randint(1, CONFIG.vocab_size, (length,), generator=generator) for length in (20, 33, 15)]
    a, b, c = sequences
    spare = packed.spare_position
    first = packed.step(torch.cat([a[:19], b[:7]]), torch.cat([torch.arange(19), torch.arange(7)]), 0,
                        [Chunk(0, 0, 0, 19), Chunk(1, 0, 19, 7)], torch.arange(26))  # fmt: skip
    torch.testing.assert_close(first[:19], reference(plain, a)[:19], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(first[19:], reference(plain, b)[:7], atol=1e-4, rtol=1e-4)
    # Row 0 decodes, row 1 sits out as a row and reads on as a chunk, row 2 begins.
    tokens = torch.cat([a[19:20], torch.zeros(1, dtype=torch.long), b[7:33], c])
    positions = torch.cat([torch.tensor([19, spare]), torch.arange(7, 33), torch.arange(15)])
    chunks = [Chunk(1, 7, 2, 26), Chunk(2, 0, 28, 15)]
    heads = torch.tensor([0, 27, 42])
    second = packed.step(tokens, positions, 2, chunks, heads)
    for logits, sequence in zip(second, sequences, strict=True):
        torch.testing.assert_close(logits, reference(plain, sequence)[-1], atol=1e-4, rtol=1e-4)


def test_a_moved_row_goes_on_as_before(pair):
    plain, packed = pair
    tokens = torch.arange(5, 25)
    packed.step(tokens[:-1], torch.arange(19), 0, [Chunk(3, 0, 0, 19)], torch.tensor([18]))
    packed.move_row(3, 0, 19)
    logits = packed.step(tokens[-1:], torch.tensor([19]), 1, [], torch.tensor([0]))
    torch.testing.assert_close(logits[0], reference(plain, tokens)[-1], atol=1e-4, rtol=1e-4)


def test_bfloat16_stays_near_float32(pair):
    plain, _ = pair
    packed = PackedDecoder(CONFIG, to_qwen3(plain), slots=1, dtype=torch.bfloat16)
    tokens = torch.arange(5, 35)
    logits = packed.step(tokens, torch.arange(30), 0, [Chunk(0, 0, 0, 30)], torch.arange(30))
    expected = reference(plain, tokens)
    assert (logits - expected).norm() / expected.norm() < 0.05
