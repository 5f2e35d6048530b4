import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.report.build import build_report
from aether.report.data import to_json
from aether.report.guard import check_html, enclose, release
from aether.report.html import to_html
from aether.report.markdown import to_markdown
from aether.report.sources import Sources
from aether.spec.errors import UnsourcedNumber
from aether.spec.report import (
    Bound,
    Cite,
    Paragraph,
    Section,
    Setting,
    Table,
    Traced,
    Verbatim,
    Words,
    bare_numbers,
    heads,
    text_of,
)
from records import run_facts


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    return run_facts(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def sources(facts):
    return Sources.of_run(facts)


@pytest.fixture(scope="module")
def report(facts, sources):
    return build_report(facts, sources)


@pytest.fixture(scope="module")
def page(report, sources):
    return to_html(report, sources)


def with_block(report, block):
    return report.model_copy(update={"sections": (Section(key="planted", title="Planted", blocks=(block,)),)})


@pytest.mark.parametrize(
    "text",
    ["30% better", "loss 2.31", "x2.5", "about ½", "٣ files", "a² of it", "bpb=1.8", "v1.2", "1e-5", "loss-2", "5"],
)
def test_words_cannot_hold_a_number(text):
    assert bare_numbers(text)
    with pytest.raises(UnsourcedNumber):
        Words(text=text)


@pytest.mark.parametrize(
    "text", ["p99 at UTF-8", "int8, e2e_p50/ttft_p99", "a SHA-256", "one of two", "三 is a word", "5-gram"]
)
def test_names_are_words(text):
    assert Words(text=text).text == text


@pytest.mark.parametrize(
    "piece",
    [
        Cite(id="evaluate.nothing"),
        Cite(id="data.documents.train", show="interval"),
        Cite(id="data.documents.train", show="n"),
        Setting(step="train", path="config.nothing"),
        Setting(step="nowhere", path="wall_s"),
        Bound(path="targets.itl_p99"),
        Bound(path="load.nothing"),
        Traced(text="1.2 bit/byte", source=Cite(id="evaluate.bits_per_byte")),
        Traced(text="1.304 and 2", source=Cite(id="evaluate.bits_per_byte")),
    ],
)
@pytest.mark.parametrize("render", [to_html, to_markdown, to_json])
def test_no_renderer_says_what_nothing_supports(report, sources, piece, render):
    with pytest.raises(UnsourcedNumber):
        render(with_block(report, Paragraph(text=(piece,))), sources)


@pytest.mark.parametrize("render", [to_html, to_markdown])
def test_a_number_planted_in_a_title_or_a_column_is_found(report, sources, render):
    planted = Section(key="planted", title="Now 30% faster", blocks=())
    with pytest.raises(UnsourcedNumber, match="30%"):
        render(report.model_copy(update={"sections": (planted,)}), sources)
    figure = next(b for s in report.sections for b in s.blocks if b.block == "figure")
    with pytest.raises(UnsourcedNumber, match="30%"):
        render(with_block(report, figure.model_copy(update={"title": "gain of 30%"})), sources)
    with pytest.raises(UnsourcedNumber, match="30%"):
        Table(columns=heads("gain of 30%"), rows=((text_of("fast"),),))


def test_the_whole_page_passes_and_each_planted_number_does_not(page, sources):
    assert check_html(page, sources) == page
    for old, new in (
        ("<h2>Evaluation</h2>", "<h2>Evaluation: 1.3</h2>"),
        ('<nav aria-label="Sections">', '<nav aria-label="12 sections">'),
        ("<p>Made by Aether", '<p><img alt="97%">Made by Aether'),
        ("<p>Made by Aether", "<p>Made by &#53; Aether"),
        ("<p>Made by Aether", "<p><b>4</b> Made by Aether"),
    ):
        assert old in page
        with pytest.raises(UnsourcedNumber):
            check_html(page.replace(old, new, 1), sources)


def test_a_sourced_element_that_says_another_number_is_found(page, sources):
    shown = '1.304<span class="u"> bit/byte</span>'
    assert shown in page
    with pytest.raises(UnsourcedNumber, match=r"1\.104"):
        check_html(page.replace(shown, shown.replace("1.304", "1.104"), 1), sources)
    title = "measured: 1.304 bit/byte"
    assert title in page
    with pytest.raises(UnsourcedNumber, match="hover"):
        check_html(page.replace(title, "measured: 1.204 bit/byte", 1), sources)


def test_a_mark_that_names_no_record_is_found(page, sources):
    with pytest.raises(UnsourcedNumber):
        check_html(page.replace("evaluate.bits_per_byte&#34;", "evaluate.bits&#34;"), sources)


@given(st.floats(0.001, 1e6), st.sampled_from(["{:.3g}", "{:.2f}", "{:,.0f}", "{:.4e}"]))
def test_any_number_outside_a_source_is_refused(value, shape):
    said = shape.format(value)
    with pytest.raises(UnsourcedNumber):
        Words(text=f"it reaches {said} now")
    with pytest.raises(UnsourcedNumber):
        release(f"{enclose('1.0')} and {said}")


@given(st.text())
def test_words_never_let_an_ascii_digit_stand_alone(text):
    if any(part.isdigit() for part in text.split()):
        assert bare_numbers(text)


@given(st.text())
def test_what_is_enclosed_is_released_as_it_was(text):
    plain = text.replace("\ue000", "").replace("\ue001", "")
    assert release(enclose(text)) == plain


def test_a_verbatim_text_is_escaped_and_stays_text(sources, report):
    evil = Verbatim(role="user", text='<script>alert("1")</script> | [x](javascript:1) `2`')
    shown = with_block(report, Paragraph(text=(evil,)))
    html = to_html(shown, sources)
    assert "<script" not in html and "&lt;script&gt;" in html
    markdown = to_markdown(shown, sources)
    assert "<script" not in markdown and "\\[x\\]" in markdown and "\\|" in markdown


def test_the_json_says_the_same_words(report, sources):
    said = json.dumps(to_json(report, sources))
    assert '"said": "1.304 bit/byte (1.273' in said and '"id": "evaluate.bits_per_byte"' in said
