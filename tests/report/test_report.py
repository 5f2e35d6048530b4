import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import yaml

from aether.evidence.ledger import Ledger
from aether.evidence.verdicts import judge
from aether.report.build import build_report
from aether.report.card import model_card
from aether.report.figures import read_lines
from aether.report.guard import check_html
from aether.report.html import to_html
from aether.report.markdown import to_markdown
from aether.report.sources import RunFacts, Sources
from aether.report.tables import TERMINAL_COLUMNS, terminal_table
from aether.report.write import write_report
from aether.spec.errors import DamagedRecord, UnsourcedNumber
from aether.spec.report import Bound, Cite, Planned, Report
from aether.spec.run import RunManifest
from records import brief, evidence, number, option, plan, record, run_facts


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    return run_facts(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(facts):
    sources = Sources.of_run(facts)
    return to_html(build_report(facts, sources), sources)


def rendered(facts):
    sources = Sources.of_run(facts)
    return to_html(build_report(facts, sources), sources)


def test_every_section_is_there_and_every_record_is_in_the_appendix(facts, page):
    report = build_report(facts)
    keys = [s.key for s in report.sections]
    assert keys == [
        *("verdict", "decision", "data", "training", "compression", "evaluation", "serving"),
        *("limits", "costs", "provenance", "again"),
    ]
    assert report.withheld == () and Report.model_validate_json(report.model_dump_json()) == report
    for e in facts.ledger:
        assert f'id="e-{e.id}"' in page


def test_each_target_stands_with_its_verdict(facts, page):
    rows = terminal_table(facts.verdicts, facts.ledger)
    assert all(len(row) == len(TERMINAL_COLUMNS) for row in rows)
    by_name = {row[0]: row for row in rows}
    assert by_name["ttft p99"] == ("ttft p99", "≤ 250 ms", "160 ms (112–208)", "271 ms (252–290)", "missed")
    assert by_name["serving memory"][3:] == ("—", "unproven")
    for status in ("met", "missed", "unproven"):
        assert f'class="badge {status}"' in page


def test_in_and_out_of_distribution_stand_apart(facts, page):
    section = next(s for s in build_report(facts).sections if s.key == "evaluation")
    heads = [b.columns[0][0].text for b in section.blocks if b.block == "table"]
    assert heads[0].startswith("in distribution") and heads[1].startswith("out of distribution")


def test_without_an_out_of_distribution_set_the_page_says_so(tmp_path):
    numbers = tuple(e for e in evidence()["evaluate"] if not e.id.endswith(".ood"))
    full = run_facts(tmp_path)
    records = full.records | {"evaluate": record("evaluate", numbers, tmp_path / "evaluate")}
    ledger = Ledger.of(records)
    facts = RunFacts(full.manifest, None, records, judge(full.manifest.brief, ledger), ledger, full.folders)
    assert "what the model does on other text is unknown" in rendered(facts)


class _Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.addresses, self.ids, self.targets = set(), [], [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        given = dict(attrs)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "xlink:href", "action", "srcset", "data")]
        self.ids += [given["id"]] if "id" in given else []
        assert not [k for k, _ in attrs if k.startswith("on")]


def test_the_page_is_one_file_that_fetches_and_runs_nothing(page):
    reader = _Links()
    reader.feed(page)
    assert not reader.tags & {"script", "iframe", "object", "embed", "img", "form", "base", "audio", "video"}
    assert all(a.startswith("#") for a in reader.addresses)
    assert {a[1:] for a in reader.addresses} <= set(reader.ids)
    assert len(reader.ids) == len(set(reader.ids))
    assert "default-src 'none'" in page
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert (
        "url(" not in style
        and "@import" not in style
        and "prefers-color-scheme: dark" in style
        and "@media print" in style
    )


def test_the_page_is_the_same_when_it_is_made_again(facts, page):
    assert rendered(facts) == page
    assert "Date" not in page and "matplotlib.org" not in page


def test_what_a_person_wrote_stays_text(tmp_path):
    evil = "<script>alert(1)</script>\"'> $\\alpha$ {{ 7*7 }} [x](javascript:alert(2))"
    asked = brief(intended_use=evil, data={"sources": "<b>here</b>", "out_of_distribution": "x|y`z"})
    facts = run_facts(tmp_path, brief=asked)
    sources = Sources.of_run(facts)
    html, markdown = rendered(facts), to_markdown(build_report(facts, sources), sources)
    card = model_card(facts, sources)
    for text in (html, markdown, card):
        assert "<script" not in text.split("```json")[0] and "<b>" not in text.split("```json")[0]
    assert "{{ 7*7 }}" in html and "&lt;script&gt;" in html


def test_slices_and_metrics_with_digits_in_their_names_are_names(tmp_path):
    full = run_facts(tmp_path)
    numbers = (
        *evidence()["evaluate"],
        number("evaluate.bits_per_byte.5gram", 2.2, "bit/byte", 0.1),
        number("evaluate.top_5_accuracy", 0.6, "fraction", 0.1),
        number("evaluate.top_5_accuracy.ood", 0.5, "fraction", 0.1),
    )
    records = full.records | {"evaluate": record("evaluate", numbers, tmp_path / "evaluate")}
    facts = RunFacts(full.manifest, full.plan, records, (), Ledger.of(records), full.folders)
    assert "top 5 accuracy" in rendered(facts) and "5gram" in model_card(facts, Sources.of_run(facts)) + rendered(facts)


def test_labels_in_figures_are_escaped(tmp_path):
    full = run_facts(tmp_path)
    numbers = (*evidence()["evaluate"], number("evaluate.bits_per_byte.a_b", 2.0, "bit/byte", 0.1))
    records = full.records | {"evaluate": record("evaluate", numbers, tmp_path / "evaluate")}
    facts = RunFacts(full.manifest, full.plan, records, (), Ledger.of(records), full.folders)
    assert ">a_b</text>" in rendered(facts)


def test_a_sentence_of_the_plan_whose_number_cannot_be_traced_is_withheld_and_named(tmp_path):
    made_up = plan().model_copy(update={"because": "It will be x42.5 better."})
    facts = run_facts(tmp_path, plan=made_up)
    report = build_report(facts)
    assert len(report.withheld) == 1 and "42.5" in report.withheld[0]
    page = rendered(facts)
    assert "42.5" not in page and "A sentence of the plan is withheld" in page


def test_the_plans_own_numbers_have_the_plan_as_their_source(tmp_path):
    said = plan().model_copy(
        update={"because": "Of 14 shapes that fit 10 min, it has the lowest predicted loss: 1.330 bit/byte (95%)."}
    )
    facts = run_facts(tmp_path, plan=said)
    pieces = build_report(facts).sections[1].blocks[0].text
    found = {p.text: p.source for p in pieces if p.kind == "traced"}
    assert found["14"] == Planned(path="because") and found["10 min"] == Bound(path="targets.build_time")
    assert found["1.330 bit/byte"] == Cite(id="plan.predicted.bits_per_byte")
    page = rendered(facts)
    assert "stated by the plan" in page
    with pytest.raises(UnsourcedNumber):
        check_html(page.replace(">14<", ">15<"), Sources.of_run(facts))
    other = replace(facts, plan=plan())
    with pytest.raises(UnsourcedNumber):
        check_html(page, Sources.of_run(other))


def test_a_curve_that_is_not_the_recorded_one_is_damage(tmp_path):
    facts = run_facts(tmp_path)
    assert read_lines(facts, "train", "metrics.jsonl") is not None
    assert read_lines(facts, "train", "nothing.jsonl") is None
    (tmp_path / "train" / "metrics.jsonl").write_text('{"step": 0, "loss": 0.1}\n')
    with pytest.raises(DamagedRecord, match=r"metrics\.jsonl"):
        build_report(facts)


def test_a_run_with_nothing_but_a_brief_has_a_report(tmp_path):
    manifest = RunManifest(name="x", brief=brief(), command=("aether",), created_at="2026-07-01T10:00:00+00:00")
    facts = RunFacts(manifest, None, {}, judge(brief(), Ledger()), Ledger())
    page = rendered(facts)
    assert page.count('class="badge unproven"') == len(brief().targets)
    empty = brief(targets=(), intended_use=None, modality=None)
    assert "names no target" in rendered(RunFacts(manifest.model_copy(update={"brief": empty}), None, {}, (), Ledger()))


def test_an_option_with_an_odd_name_keeps_its_estimates(tmp_path):
    odd = plan().model_copy(update={"options": (option("balanced", "plain", 1.0), option("4 bit, <fast>", "odd", 0.5))})
    assert "4 bit, &lt;fast&gt;" in rendered(run_facts(tmp_path, plan=odd))


def test_a_corrected_number_is_shown_as_it_stands(tmp_path):
    facts = run_facts(tmp_path)
    facts.ledger.correct(number("run.build_time", 505.0, "s"), "resumed")
    with pytest.raises(UnsourcedNumber, match=r"8\.3 min"):
        rendered(facts)
    page = rendered(replace(facts, verdicts=judge(brief(), facts.ledger)))
    assert "8.42" in page and "Corrected entries" in page


def test_the_model_card_is_a_hugging_face_card(facts):
    card = model_card(facts, Sources.of_run(facts))
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "transformers" and front["pipeline_tag"] == "text-generation"
    assert front["license"] == "unknown" and "code" in front["tags"]
    assert (
        yaml.safe_load(model_card(facts, Sources.of_run(facts), "apache-2.0").split("---\n")[1])["license"]
        == "apache-2.0"
    )
    assert "1.304 bit/byte (1.273–1.335)" in card and "muon\\_learning\\_rate: 0.02" in card


def test_footnotes_are_all_defined_and_all_used(facts):
    sources = Sources.of_run(facts)
    text = to_markdown(build_report(facts, sources), sources)
    body, _, notes = text.partition("## Evidence")
    assert set(re.findall(r"\[\^(\d+)\]", body)) == set(re.findall(r"^\[\^(\d+)\]:", notes, re.MULTILINE))
    for line in body.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_writes_every_form_into_the_run_folder(tmp_path):
    facts = run_facts(tmp_path)
    facts.ledger.dump(tmp_path / "ledger.jsonl")
    paths = write_report(tmp_path, facts.manifest, facts.plan, facts.records, facts.verdicts)
    assert {p.name for p in paths.values()} == {"report.html", "report.md", "report.json", "model_card.md"}
    assert json.loads(paths["json"].read_text())["sections"][0]["key"] == "verdict"
    assert paths["html"].read_text().startswith("<!doctype html>")
