"""What the data stage found, as evidence, as data.json and as a data card for people. All three from the same numbers.

The card follows the idea of Datasheets for Datasets (Gebru et al., arXiv 1803.09010): composition, collection, cleaning,
limits. It holds no time, host or path, so that equal input gives an equal card.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aether.spec.evidence import Evidence
from aether.spec.run import StepContext
from aether.stages.data.contamination import Overlap
from aether.stages.data.dedup import ALGORITHM
from aether.stages.data.filters import MEANING, Reason
from aether.stages.data.pack import SplitTotals
from aether.stages.data.recipe import END_OF_TEXT, DataRecipe
from aether.stages.data.rejections import Rejections
from aether.stages.data.sources import Manifest
from aether.stages.data.spool import SPLITS


@dataclass(frozen=True)
class Facts:
    """Everything counted on the way."""

    manifest: Manifest
    documents_read: int
    rejections: Rejections
    licences: dict[str, int]
    """Kind of licence notice -> accepted documents; "none" for those without."""
    overlap: Overlap
    totals: dict[str, SplitTotals]
    vocab_size: int
    dtype: str
    given_tokenizer: bool = False


def evidence_of(facts: Facts, context: StepContext) -> tuple[Evidence, ...]:
    """Every number of the card as evidence with ids "<step>.<metric>[.<slice>]"; all repeat exactly."""
    read = facts.documents_read
    source = f"data stage on input {facts.manifest.sha256[:16]}, {read} documents read"

    def said(metric: str, value: float, unit: str, label: str | None = None) -> Evidence:
        return context.measured(metric, value, unit, source, label=label, n=max(1, read))

    def all_of_them() -> Iterator[Evidence]:
        yield said("documents_read", read, "count")
        yield said("bytes_read", facts.manifest.bytes, "byte")
        yield said("vocab_size", facts.vocab_size, "count")
        for split, total in facts.totals.items():
            yield said("documents", total.documents, "count", split)
            yield said("groups", len(total.groups), "count", split)
            yield said("bytes", total.bytes, "byte", split)
            yield said("tokens", total.tokens, "count", split)
            if total.documents:
                # The opening token carries no text, so it is not counted here.
                yield said("bytes_per_token", total.bytes / (total.tokens - total.documents), "byte/token", split)
        train = facts.totals["train"]
        yield said("bytes_per_token", train.bytes / (train.tokens - train.documents), "byte/token")
        for reason in Reason:
            yield said("rejected", facts.rejections.counts[reason], "count", reason.value)
        for name, reason in (("exact", Reason.EXACT_DUPLICATE), ("near", Reason.NEAR_DUPLICATE)):
            yield said("duplicate_share", facts.rejections.counts[reason] / max(1, read), "fraction", name)
        for licence, count in sorted(facts.licences.items()):
            yield said("licence_documents", count, "count", licence)
        yield said("contaminated_documents", facts.rejections.counts[Reason.CONTAMINATES], "count")
        for split in ("validation", "test", "ood"):
            held_out = max(1, facts.overlap.held_out[SPLITS[split]])
            yield said("touched_share", facts.overlap.touched[SPLITS[split]] / held_out, "fraction", split)
            yield said("contaminated_share", facts.overlap.contaminated[SPLITS[split]] / held_out, "fraction", split)
            yield said("ngram_share_left", facts.overlap.left[SPLITS[split]], "fraction", split)

    return tuple(all_of_them())


def write_json(facts: Facts, recipe: DataRecipe, evidence: tuple[Evidence, ...], out: Path) -> None:
    """data.json: what later stages read."""
    values = {e.id.partition(".")[2]: e.value for e in evidence}
    splits = {s: {"documents": t.documents, "bytes": t.bytes, "tokens": t.tokens} for s, t in facts.totals.items()}
    data = {
        "vocab_size": facts.vocab_size,
        "dtype": "uint16" if facts.dtype == "<u2" else "uint32",
        "modality": recipe.modality,
        "splits": splits,
        "bytes_per_token": values["bytes_per_token"],
        "manifest_sha256": facts.manifest.sha256,
        "end_of_text": {"token": END_OF_TEXT, "id": 0},
        "near_duplicates": {"algorithm": ALGORITHM, **recipe.near_duplicates.model_dump()},
        "contamination": {"looked_at_one_ngram_in": facts.overlap.one_in, **recipe.contamination.model_dump()},
        "rejected": {r.value: facts.rejections.counts[r] for r in Reason},
        "licences": facts.licences,
        "sources": [s.model_dump() for s in facts.manifest.sources],
    }
    (out / "data.json").write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def write_card(facts: Facts, recipe: DataRecipe, evidence: tuple[Evidence, ...], out: Path) -> None:
    """data_card.md, for a person."""
    values = {e.id.partition(".")[2]: e.value for e in evidence}
    blocks = (
        _head(facts, recipe),
        _splits(facts, values),
        _rejected(facts, values),
        _copies(recipe, values),
        _contamination(facts, recipe, values),
        _licences(facts),
        _limits(recipe),
    )
    (out / "data_card.md").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def _code(text: str) -> str:
    """Any text (a file name may hold anything) as inline code in a Markdown table."""
    shown = text.encode("utf-8", "backslashreplace").decode().replace("`", "'").replace("|", "\\|")
    return f"`{' '.join(shown.split())[:120]}`"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _head(facts: Facts, recipe: DataRecipe) -> str:
    rows = [(_code(s.source), s.role, f"{s.files:,}", f"{s.bytes:,}", s.sha256[:16]) for s in facts.manifest.sources]
    return (
        f"# Data card\n\nModality **{recipe.modality}**; {facts.documents_read:,} documents read; "
        f"input SHA-256 `{facts.manifest.sha256}`.\n\n## Sources\n\n"
        + _table(("source", "role", "files", "bytes", "SHA-256 (start)"), rows)
    )


def _splits(facts: Facts, values: dict[str, float]) -> str:
    rows = []
    for split, total in facts.totals.items():
        ratio = values.get(f"bytes_per_token.{split}")
        shown = "-" if ratio is None else f"{ratio:.3f}"
        counts = (total.documents, len(total.groups), total.bytes, total.tokens)
        rows.append((split, *(f"{n:,}" for n in counts), shown))
    return (
        "## Splits\n\n"
        + _table(("split", "documents", "groups", "bytes", "tokens", "bytes per token"), rows)
        + f"\n\nByte-level BPE, {facts.vocab_size:,} entries, {'as given' if facts.given_tokenizer else 'learnt from training text only'}. Each document opens with "
        f"`{END_OF_TEXT}` (id 0), which counts as a token but not in bytes per token."
    )


def _rejected(facts: Facts, values: dict[str, float]) -> str:
    rows = []
    for reason in Reason:
        examples = facts.rejections.examples.get(reason, [])
        shown = "; ".join(f"{_code(i)}: {_code(d)}" for i, d in examples[:1]) or "-"
        rows.append((reason.value, f"{values[f'rejected.{reason.value}']:,.0f}", MEANING[reason], shown))
    return "## Turned away\n\nEvery one is in `rejected.jsonl` with its numbers.\n\n" + _table(
        ("reason", "documents", "meaning", "first example"), rows
    )


def _copies(recipe: DataRecipe, values: dict[str, float]) -> str:
    near = recipe.near_duplicates
    return (
        f"## Copies\n\nExact: **{values['duplicate_share.exact']:.2%}** of the documents read; near: "
        f"**{values['duplicate_share.near']:.2%}**. A near copy shares a Jaccard similarity of at least {near.threshold:g} "
        f"of its {near.shingle_tokens}-token shingles with a document that was kept; the first in reading order is kept. "
        f"Candidates by {ALGORITHM}, {near.permutations} permutations in {near.bands} bands, seed {near.seed}; each was "
        "then compared exactly."
    )


def _contamination(facts: Facts, recipe: DataRecipe, values: dict[str, float]) -> str:
    rows = []
    for split in ("validation", "test", "ood"):
        shares = (values[f"{name}.{split}"] for name in ("touched_share", "contaminated_share", "ngram_share_left"))
        rows.append((split, f"{facts.overlap.held_out[SPLITS[split]]:,}", *(f"{share:.2%}" for share in shares)))
    check = recipe.contamination
    return (
        f"## Overlap of training with held-out documents\n\n**{values['contaminated_documents']:,.0f}** training documents "
        f"were removed: each shared at least {check.overlap:.0%} of the smaller document's {check.ngram_tokens}-token "
        f"n-grams with one held-out document. n-grams in more than {check.common_documents} training documents are common "
        f"phrases and do not count. One n-gram in {facts.overlap.one_in} was looked at.\n\n"
        + _table(
            (
                "split",
                "documents",
                "shared any (before)",
                "shared over the bound (before)",
                "n-grams still in training",
            ),
            rows,
        )
    )


def _licences(facts: Facts) -> str:
    rows = [(name, f"{count:,}") for name, count in sorted(facts.licences.items(), key=lambda x: (-x[1], x[0]))]
    return (
        "## Licence notices\n\nFound in the first 4,000 characters of accepted documents and kept in the text. A count of "
        "words, not legal advice.\n\n" + _table(("notice", "documents"), rows)
    )


def _limits(recipe: DataRecipe) -> str:
    split = recipe.split
    return (
        f"## How it was split, and what this does not show\n\n- By group with seed {split.seed}: aimed at {split.test:.1%} "
        f"of bytes for test and {split.validation:.1%} for validation. A group is a folder with at most "
        f"{split.group_max_share:.1%} of the bytes; a larger one is opened into its subfolders and files.\n"
        "- Files of an opened folder may stand in different splits. What they share beyond the bounds above was removed; "
        "style and vocabulary are still shared, so `test` measures the same kind of text, not text in general. `ood` is for that.\n"
        "- Paraphrase and translated copies are not detected. Personal data and secrets are not searched for.\n"
        "- Line ends are `\\n`, byte order marks are removed; nothing else in the text was changed."
    )
