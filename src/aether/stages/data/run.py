"""The door of the data stage: sources in; splits, tokenizer, data card and evidence out. Order of the passes is here.

    collect -> exact copies -> near copies -> split by group -> contamination -> tokenizer -> pack -> card

Starts from nothing each time (a killed run is simply run again; the stage takes a minute, and a half-written folder has
no record). Texts wait on disk (`spool`); memory holds numbers per document, so the input may be larger than memory.
"""

import errno
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tokenizers import Tokenizer

from aether.evidence.hashing import hash_file
from aether.spec.errors import EnvironmentFault, InputError
from aether.spec.evidence import Evidence
from aether.spec.run import StepContext
from aether.stages.data.card import Facts, evidence_of, write_card, write_json
from aether.stages.data.contamination import ContaminationCheck, Overlap
from aether.stages.data.dedup import NearCopies, exact_copies
from aether.stages.data.filters import Reason, judge, licence_of
from aether.stages.data.pack import pack, token_dtype
from aether.stages.data.readers import read_items
from aether.stages.data.recipe import DataRecipe
from aether.stages.data.rejections import Rejections, Sample
from aether.stages.data.sources import Manifest, find_files, manifest, tokenizer_file
from aether.stages.data.split import split_corpus
from aether.stages.data.spool import DROPPED, MAIN, OOD, SPLITS, TRAIN, Spool
from aether.stages.data.tokenizer import Encoder, read_tokenizer, save_tokenizer, train_tokenizer, use_threads

_FAULTS = {
    errno.ENOSPC: "the disk is full; free some space (the stage needs about {need} besides its output) and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EROFS: "the file system is read-only; choose another output folder",
    errno.EACCES: "no permission to write there; choose another output folder or change its owner",
    errno.EIO: "the disk reports an error; check it, or choose another output folder",
}


def run(recipe: DataRecipe, context: StepContext) -> tuple[Evidence, ...]:
    """Curate the recipe's sources into `context.out`; see the file contract in docs/data.md.

    Raises InputError for input that cannot become a corpus (missing, changed since the plan, empty, too small to split)
    and EnvironmentFault when the disk is in the way.
    """
    use_threads(context.threads)
    found = _check_manifest(recipe, context)
    with storage_faults(context.out, found.bytes), ExitStack() as stack:
        work = _fresh(context.out)
        # First in, last out: closing a file on a full disk fails again, and the space must be freed all the same.
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        rejections = Rejections(context.out / "rejected.jsonl")
        stack.callback(rejections.close)
        spool = Spool(work / "spool.bin")
        stack.callback(spool.close)
        return _curate(recipe, context, found, spool, rejections)


def _curate(
    recipe: DataRecipe, context: StepContext, found: Manifest, spool: Spool, rejections: Rejections
) -> tuple[Evidence, ...]:
    documents_read = _collect(recipe, context, spool, rejections)
    _drop_copies(recipe, context, spool, rejections)
    _require_kept(recipe, spool, rejections)
    licences = Counter(d.licence or "none" for d in spool.walk(MAIN, OOD))
    groups = split_corpus(spool, recipe.split)
    overlap = _drop_contaminating(recipe, context, spool, rejections)
    tokenizer = _tokenizer(recipe, context, spool)
    save_tokenizer(tokenizer, context.out / "tokenizer")
    total_bytes = spool.bytes_of(*SPLITS.values())
    dtype = token_dtype(recipe.vocab_size)
    totals = pack(
        spool,
        groups,
        Encoder(tokenizer),
        context.out,
        dtype,
        lambda done: context.tell(done, total_bytes, "byte", "writing tokens"),
    )
    rejections.close()
    given = recipe.tokenizer is not None or "tokenizer" in context.inputs
    facts = Facts(found, documents_read, rejections, dict(licences), overlap, totals, recipe.vocab_size, dtype, given)
    evidence = evidence_of(facts, context)
    write_json(facts, recipe, evidence, context.out)
    write_card(facts, recipe, evidence, context.out)
    kept = totals["train"]
    context.tell(
        total_bytes,
        total_bytes,
        "byte",
        f"{kept.documents:,} training documents, {kept.tokens:,} tokens",
        tokens=kept.tokens,
    )
    return evidence


def _check_manifest(recipe: DataRecipe, context: StepContext) -> Manifest:
    if not recipe.manifest_sha256:
        raise InputError.of("data.manifest_sha256", "", "pin the input first: aether.stages.data.sources.pin(recipe)")
    context.tell(message="checking the input against the plan")
    found = manifest(recipe)
    if found.sha256 != recipe.manifest_sha256:
        raise InputError.of(
            "data.manifest_sha256",
            recipe.manifest_sha256,
            f"the files of {', '.join(recipe.sources + recipe.out_of_distribution)} have changed since the plan was made "
            f"(now {found.sha256[:16]}...); plan again to use them as they are",
        )
    return found


def _fresh(out: Path) -> Path:
    """Remove what an earlier, cut run left; returns the empty working folder."""
    for name in ("tmp", "tokenizer", *SPLITS):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("data.json", "data_card.md", "rejected.jsonl"):
        (out / name).unlink(missing_ok=True)
    work = out / "tmp"
    work.mkdir(parents=True)
    return work


@contextmanager
def storage_faults(out: Path, input_bytes: int) -> Iterator[None]:
    """An OSError of the output disk as a sentence. Input files' own errors never get here: the readers count them."""
    try:
        yield
    except OSError as error:
        advice = _FAULTS.get(error.errno or 0)
        if advice is None:
            advice = f"{error.strerror or error}; look at the folder and run again"
        need = f"{max(1, round(1.2 * input_bytes / 1e6))} MB"
        raise EnvironmentFault(
            f"cannot write {out}: {advice.format(need=need)}", path=str(out), errno=error.errno
        ) from error


def _collect(recipe: DataRecipe, context: StepContext, spool: Spool, rejections: Rejections) -> int:
    """Read, filter and spool every document; returns how many were read."""
    samples = {
        "main": Sample(recipe.bytes_max, recipe.split.seed),
        "ood": Sample(recipe.ood_bytes_max, recipe.split.seed),
    }
    evicted: list[int] = []
    count = seen_bytes = 0
    for file in find_files(recipe):
        sample = samples[file.role]
        for item in read_items(file, recipe):
            count += 1
            if item.rejection is not None:
                rejections.add(item.id, *item.rejection)
                continue
            key = sample.key(item.id)
            if key is None:
                rejections.add(item.id, Reason.OVER_CAP, "not in the seeded sample")
                continue
            finding = judge(item.text, recipe.modality, recipe.filters)
            if finding is not None:
                rejections.add(item.id, *finding)
                continue
            raw = item.text.encode()
            spool.append(item, raw, file.role, licence_of(item.text))
            evicted += sample.add(key, len(spool) - 1, len(raw))
            if count % 256 == 0:
                context.tell(seen_bytes, 0, "byte", f"reading {file.id}", documents=count)
        seen_bytes += file.size_bytes
    for index in evicted:
        spool.fate[index] = DROPPED
        rejections.add(spool.read(index).id, Reason.OVER_CAP, "left the seeded sample")
    return count


def _drop_copies(recipe: DataRecipe, context: StepContext, spool: Spool, rejections: Rejections) -> None:
    def drop(reason: Reason, later: int, kept: int, detail: str) -> None:
        spool.fate[later] = DROPPED
        rejections.add(spool.read(later).id, reason, f"{detail} of {spool.read(kept).id}")

    for later, first in sorted(exact_copies(spool)):
        drop(Reason.EXACT_DUPLICATE, later, first, "a copy")
    near = NearCopies(recipe.near_duplicates, spool, spool.path.parent)
    total = len(spool)
    near.sign(lambda done: context.tell(done, total, "documents", "looking for near copies"))
    near.drop(
        lambda later, kept, jaccard: drop(Reason.NEAR_DUPLICATE, later, kept, f"Jaccard {jaccard:.3f}, near copy")
    )


def _require_kept(recipe: DataRecipe, spool: Spool, rejections: Rejections) -> None:
    """Refuse an empty corpus, and an out-of-distribution set that was asked for and is empty."""
    checks = ((MAIN, "data.sources", recipe.sources), (OOD, "data.out_of_distribution", recipe.out_of_distribution))
    for fate, field, sources in checks:
        if sources and not spool.indices(fate).size:
            why = rejections.summary() or "there was no document"
            mend = f"no document is left ({why}); give other text, or change the filter that took it"
            raise InputError.of(field, ", ".join(sources), mend)


def _drop_contaminating(recipe: DataRecipe, context: StepContext, spool: Spool, rejections: Rejections) -> Overlap:
    def drop(index: int, held_out: int, overlap: float) -> None:
        spool.fate[index] = DROPPED
        other = spool.read(held_out).id
        rejections.add(spool.read(index).id, Reason.CONTAMINATES, f"shares {overlap:.1%} of n-grams with {other}")

    check = ContaminationCheck(recipe.contamination, spool)
    total = int(spool.indices(TRAIN).size)
    overlap = check.run(drop, lambda done: context.tell(done, total, "documents", "checking training against held-out"))
    if not spool.indices(TRAIN).size:
        mend = "every training document repeats a held-out one; give more varied text or raise contamination.overlap"
        raise InputError.of("data.contamination.overlap", recipe.contamination.overlap, mend)
    return overlap


def _tokenizer(recipe: DataRecipe, context: StepContext, spool: Spool) -> Tokenizer:
    """The tokenizer that is given, by the recipe or by the step's input, or one learnt from the training text."""
    place = context.inputs.get("tokenizer") or recipe.tokenizer
    if place is None:
        context.tell(message="training the tokenizer")
        return train_tokenizer(_tokenizer_texts(recipe, spool), recipe.vocab_size)
    file = tokenizer_file(Path(place))
    if recipe.tokenizer is not None and hash_file(file) != recipe.tokenizer_sha256:
        raise InputError.of(
            "data.tokenizer_sha256", recipe.tokenizer_sha256, f"{file} has changed; pin the recipe again"
        )
    return read_tokenizer(file, recipe.vocab_size)


def _tokenizer_texts(recipe: DataRecipe, spool: Spool) -> Iterator[str]:
    """Training texts in reading order: all, or a seeded sample of them up to the recipe's bytes."""
    sample = Sample(recipe.tokenizer_sample_bytes, recipe.split.seed)
    taken: set[int] = set()
    for document in spool.walk(TRAIN):
        key = sample.key(document.id)
        if key is not None:
            taken.add(document.index)
            taken.difference_update(sample.add(key, document.index, len(document.raw)))
    # One document may be larger than the whole sample: the tokenizer still has to learn from something.
    chosen = sorted(taken) or spool.indices(TRAIN)[:1].tolist()
    for index in chosen:
        yield spool.read(index).raw.decode()
