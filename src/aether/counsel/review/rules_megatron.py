"""Checks of Megatron-LM commands: what must divide what, and what a long run must not lack."""

from collections.abc import Iterator

from aether.counsel.review.documents import Document, Settings
from aether.counsel.review.registry import Hit, at, on_settings

KIND = "megatron"


def _divides(settings: Settings, whole: str, part: str, words: str) -> Iterator[Hit]:
    number, divisor = settings.number(whole), settings.number(part)
    if number and divisor and number % divisor:
        yield at(
            settings.at(part),
            f"{part.replace('_', '-')} {divisor:g} does not divide {whole.replace('_', '-')} {number:g}{words}",
        )


@on_settings("AE370", KIND)
def _heads(settings: Settings, document: Document) -> Iterator[Hit]:
    yield from _divides(settings, "num_attention_heads", "tensor_model_parallel_size", "")


@on_settings("AE371", KIND)
def _layers(settings: Settings, document: Document) -> Iterator[Hit]:
    if not settings.has("decoder_first_pipeline_num_layers", "decoder_last_pipeline_num_layers", "pipeline_model_parallel_layout", "account_for_embedding_in_pipeline_split"):  # fmt: skip
        yield from _divides(settings, "num_layers", "pipeline_model_parallel_size", "")


@on_settings("AE372", KIND)
def _hidden(settings: Settings, document: Document) -> Iterator[Hit]:
    if not settings.has("kv_channels"):
        yield from _divides(settings, "hidden_size", "num_attention_heads", "")


@on_settings("AE373", KIND)
def _batch(settings: Settings, document: Document) -> Iterator[Hit]:
    yield from _divides(settings, "global_batch_size", "micro_batch_size", "")


@on_settings("AE374", KIND)
def _groups(settings: Settings, document: Document) -> Iterator[Hit]:
    groups, degree = settings.number("num_query_groups"), settings.number("tensor_model_parallel_size")
    if groups and degree and groups % degree and degree % groups:
        yield at(
            settings.at("num_query_groups"),
            f"num-query-groups {groups:g} and tensor parallel {degree:g}: neither divides the other",
        )


@on_settings("AE375", KIND)
def _saves(settings: Settings, document: Document) -> Iterator[Hit]:
    if (settings.number("train_iters") or 0) >= 1000 and not settings.has("save"):
        yield Hit(settings.line, f"{settings.number('train_iters'):,.0f} iterations without --save")


@on_settings("AE376", KIND)
def _positions(settings: Settings, document: Document) -> Iterator[Hit]:
    length, positions = settings.number("seq_length"), settings.number("max_position_embeddings")
    if length and positions and length > positions:
        yield at(settings.at("seq_length"), f"seq-length {length:g} is beyond max-position-embeddings {positions:g}")


@on_settings("AE377", KIND)
def _sequence_parallel(settings: Settings, document: Document) -> Iterator[Hit]:
    if (settings.number("tensor_model_parallel_size") or 1) > 1 and not settings.has("sequence_parallel"):
        yield at(settings.at("tensor_model_parallel_size"), "tensor parallelism without --sequence-parallel")


@on_settings("AE378", KIND)
def _warmup(settings: Settings, document: Document) -> Iterator[Hit]:
    given = ("lr_warmup_iters", "lr_warmup_fraction", "lr_warmup_samples")
    if settings.has("lr") and not any((settings.number(name) or 0) > 0 for name in given):
        yield at(settings.at("lr"), "no --lr-warmup-fraction, --lr-warmup-iters or --lr-warmup-samples")


@on_settings("AE379", KIND)
def _held_out(settings: Settings, document: Document) -> Iterator[Hit]:
    split = settings.get("split")
    if isinstance(split, str) and split.replace(" ", "") in ("100,0,0", "1,0,0", "1000,0,0"):
        yield at(settings.at("split"), f"--split {split}: nothing is held out")
    if settings.number("eval_iters") == 0:
        yield at(settings.at("eval_iters"), "--eval-iters 0: what is held out is never looked at")


@on_settings("AE380", KIND)
def _experts(settings: Settings, document: Document) -> Iterator[Hit]:
    yield from _divides(settings, "num_experts", "expert_model_parallel_size", "")


@on_settings("AE382", KIND)
def _unclipped(settings: Settings, document: Document) -> Iterator[Hit]:
    norm = settings.number("clip_grad")
    if norm is not None and (norm <= 0 or norm > 10):
        yield at(settings.at("clip_grad"), f"--clip-grad {norm:g}: the gradient is not clipped")


@on_settings("AE381", KIND)
def _fp16(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.on("fp16") and settings.on("bf16"):
        yield at(settings.at("fp16"), "--fp16 and --bf16")
