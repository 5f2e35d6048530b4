"""Two runs on the same documents: paired difference, interval, effect size, and a conclusion in words. No torch.

Follows `statistics` (paired, clustered by file or folder). "No evidence of a difference" is a normal answer and comes
with the smallest difference that this set of documents could have shown. It compares two trained models as they are:
the noise between training seeds is not in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from aether.evidence.statistics import PairedDifference, paired_difference, smallest_detectable
from aether.spec.base import Noun
from aether.spec.errors import DamagedRecord, InputError

Conclusion = Literal["a is better", "b is better", "no evidence of a difference"]
Quantity = Literal["bits_per_byte", "next_token_accuracy"]


class DocumentScore(Noun):
    """What one document of an evaluation gave: one line of `per_document.jsonl`."""

    id: str
    group: str
    split: str = "test"
    bits: float = Field(ge=0)
    bytes: int = Field(gt=0)
    tokens: int = Field(gt=0)
    correct_top1: int = Field(ge=0)


@dataclass(frozen=True)
class Comparison:
    """a against b on the documents that both have. `left_out` names those that only one of them has."""

    quantity: Quantity
    a: float
    b: float
    paired: PairedDifference
    conclusion: Conclusion
    detectable: float | None
    """The smallest true difference that would have been found four times in five."""
    left_out: tuple[str, ...]

    def sentence(self) -> str:
        """The conclusion with its numbers, for people."""
        unit = "bit/byte" if self.quantity == "bits_per_byte" else "of tokens"
        paired = self.paired
        head = f"{self.conclusion}: a - b = {paired.difference:+.4f} {unit} ({paired.relative:+.2%})"
        if paired.interval is None or paired.p_value is None:
            return f"{head}, no interval ({paired.note})"
        low, high = paired.interval.low, paired.interval.high
        found = f"{head}, {paired.interval.level:.0%} interval {low:+.4f} to {high:+.4f}, p = {paired.p_value:.2g}"
        if self.conclusion == "no evidence of a difference" and self.detectable is not None:
            found += f"; {paired.n} documents would show a difference of {self.detectable:.4f} four times in five"
        return found


def read_scores(path: Path, split: str | None = None) -> list[DocumentScore]:
    """The scores in a `per_document.jsonl`, those of `split` only when one is named. Raises DamagedRecord."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        scores = [DocumentScore.model_validate_json(line) for line in lines]
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise DamagedRecord(
            f"{path} is not a list of document scores; run the evaluation again", path=str(path)
        ) from error
    return [score for score in scores if split is None or score.split == split]


def compare(
    a: Sequence[DocumentScore],
    b: Sequence[DocumentScore],
    quantity: Quantity = "bits_per_byte",
    level: float = 0.95,
    cluster: Literal["file", "folder"] = "folder",
) -> Comparison:
    """Paired comparison of two runs' document scores, clustered by folder (or file). Raises InputError without pairs.

    Next-token accuracy needs the same tokenizer in both; bits per byte does not.
    """
    by_id_a, by_id_b = _by_id(a, "a"), _by_id(b, "b")
    shared = sorted(by_id_a.keys() & by_id_b.keys())
    if not shared:
        raise InputError.of("documents", 0, "the two runs share no document; evaluate both on the same test split")
    pairs = [(by_id_a[i], by_id_b[i]) for i in shared]
    for left, right in pairs:
        if left.bytes != right.bytes:
            raise InputError.of(left.id, (left.bytes, right.bytes), "the runs saw different texts under one name")
        if quantity == "next_token_accuracy" and left.tokens != right.tokens:
            raise InputError.of(left.id, (left.tokens, right.tokens), "compare bits per byte: the tokenizers differ")
    bits = quantity == "bits_per_byte"
    value_a = [float(left.bits if bits else left.correct_top1) for left, _ in pairs]
    value_b = [float(right.bits if bits else right.correct_top1) for _, right in pairs]
    below = [float(left.bytes if bits else left.tokens) for left, _ in pairs]
    labels = [left.group if cluster == "folder" else left.id for left, _ in pairs]
    paired = paired_difference(value_a, value_b, below, labels, level)
    detectable = None if paired.se is None else smallest_detectable(paired.se, paired.clusters, level)
    left_out = tuple(f"{split}:{name}" for split, name in sorted(by_id_a.keys() ^ by_id_b.keys()))
    conclusion = _conclusion(paired, lower_is_better=bits)
    return Comparison(
        quantity, sum(value_a) / sum(below), sum(value_b) / sum(below), paired, conclusion, detectable, left_out
    )


def _by_id(scores: Sequence[DocumentScore], name: str) -> dict[tuple[str, str], DocumentScore]:
    found = {(score.split, score.id): score for score in scores}
    if len(found) != len(scores):
        raise InputError.of(name, len(scores) - len(found), "a document appears twice in one split of this run")
    return found


def _conclusion(paired: PairedDifference, lower_is_better: bool) -> Conclusion:
    if not paired.is_significant:
        return "no evidence of a difference"
    return "a is better" if (paired.difference < 0) == lower_is_better else "b is better"
