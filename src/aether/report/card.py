"""The model card of an exported folder: Hugging Face front matter, then what it is for, how it was made and measured.

Follows Mitchell et al., Model Cards for Model Reporting (arXiv 1810.03993): intended use, factors, metrics, training and
evaluation data, caveats. Numbers come from evidence alone; a licence that nobody gave is `unknown`, never guessed.
"""

import json

from aether.report.guard import release
from aether.report.headline import settings_of
from aether.report.markdown import Scribe
from aether.report.pieces import NO_SLICE, pivot, slice_of, user
from aether.report.sections import data_section, limits_section
from aether.report.sources import RunFacts, Sources
from aether.spec.report import Facts, Paragraph, Section, Text, text_of


def model_card(facts: RunFacts, sources: Sources, licence: str | None = None, *, model_type: str = "qwen3") -> str:
    """README.md of the model folder. `licence` is a Hugging Face licence id. Raises UnsourcedNumber."""
    scribe = Scribe(sources)
    lines = [f"# {scribe.text(text_of(user(sources.brief.name)))}", ""]
    for section in _sections(facts, sources):
        lines += [f"## {section.title}", ""]
        for block in section.blocks:
            lines += [*scribe.block(block), ""]
    lines += ["## Sources of the numbers", "", *scribe.footnotes()]
    front = _front_matter(sources, licence, model_type)
    return "\n".join([*front, "", release("\n".join(lines)).rstrip(), ""])


def _front_matter(sources: Sources, licence: str | None, model_type: str) -> list[str]:
    brief = sources.brief
    tags = ["aether", model_type, *(["code"] if brief.modality == "code" else [])]
    return [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        f"license: {json.dumps(licence or 'unknown')}",
        "tags:",
        *(f"- {json.dumps(tag)}" for tag in tags),
        f"model_name: {json.dumps(brief.name)}",
        "---",
    ]


def _sections(facts: RunFacts, sources: Sources) -> list[Section]:
    use: Text = text_of("Nobody said what it is for.")
    if sources.brief.intended_use:
        use = text_of(user(sources.brief.intended_use), ".")
    found = [Section(key="use", title="Intended use", blocks=(Paragraph(text=use),))]
    measured = sources.ledger.of_step("evaluate")
    inside = pivot([e for e in measured if slice_of(e) == NO_SLICE], "held-out text of the same source")
    outside = pivot([e for e in measured if slice_of(e).startswith("ood")], "text from elsewhere")
    tables = tuple(table for table in (inside, outside) if table is not None)
    if tables:
        found.append(Section(key="quality", title="How good it is", blocks=tables))
    found.append(limits_section(facts, sources))
    data = data_section(facts, sources)
    if data is not None:
        found.append(
            data.model_copy(update={"blocks": tuple(b for b in data.blocks if b.block != "facts" or not b.folded)})
        )
    record = facts.records.get("train")
    if record is not None:
        choices = Facts(facts=settings_of("train", record.config))
        training = pivot(sources.ledger.of_step("train"), "training")
        blocks = (choices,) if training is None else (training, choices)
        found.append(Section(key="training", title="How it was trained", blocks=blocks))
    return found
