import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.report.sources import Sources
from aether.report.wording import interval_text, numbers_in, plain, says, setting_text, value_text
from aether.spec.errors import UnsourcedNumber
from aether.spec.evidence import Evidence
from aether.spec.report import Cite, Traced, Words
from aether.spec.units import humanize
from records import brief, number, run_facts


@pytest.mark.parametrize(
    ("value", "unit", "within", "said", "between"),
    [
        (1.832, "bit/byte", 0.015, "1.832 bit/byte", "1.817–1.847"),
        (1.8, "bit/byte", None, "1.800 bit/byte", ""),
        (0.271, "s", 0.019, "271 ms", "252–290"),
        (498.0, "s", None, "8.30 min", ""),
        (3.41e6, "byte", None, "3.41 MB", ""),
        (2_483_904, "count", None, "2.48 M", ""),
        (1499, "count", None, "1,499", ""),
        (6_812_345, "token", None, "6.81 M tokens", ""),
        (2.31e11, "FLOP/s", 6e9, "231 GFLOP/s", "225–237"),
        (0.0023, "fraction", 0.0011, "0.230 %", "0.120–0.340"),
        (0.001, "fraction", 0.002, "0.100 %", "-0.100 to 0.300"),
        (0.0, "USD", None, "0 USD", ""),
    ],
)
def test_a_value_and_its_interval_share_rung_and_digits(value, unit, within, said, between):
    evidence = number("s.m", value, unit, within)
    assert (value_text(evidence), interval_text(evidence)) == (said, between)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (None, "none"),
        (0.02, "0.02"),
        (1e-8, "1e-08"),
        ([0.9, 0.95], "0.9, 0.95"),
        (0.1 + 0.2, repr(0.1 + 0.2)),
    ],
)
def test_a_setting_keeps_every_digit(value, text):
    assert setting_text(value) == text


@given(st.floats(1e-9, 1e13), st.sampled_from(["s", "byte", "token/s", "USD", "fraction", "bit/byte", "count"]))
def test_what_a_person_reads_is_found_to_be_the_value(value, unit):
    text = humanize(value, unit)
    (found,) = numbers_in(text)
    assert says(found, value, unit), text


@given(st.floats(1e-6, 1e9), st.floats(1.02, 50))
def test_another_value_is_not(value, factor):
    (found,) = numbers_in(humanize(value, "token/s"))
    assert not says(found, value * factor, "token/s") and not says(found, value / factor, "token/s")


@given(st.floats(-1e15, 1e15).filter(lambda v: abs(v) > 1e-300), st.integers(1, 6))
def test_plain_keeps_the_digits(value, digits):
    said = float(plain(value, digits).replace(",", ""))
    assert abs(said - value) <= abs(value) * 10 ** (1 - digits)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return Sources.of_run(run_facts(tmp_path_factory.mktemp("run")))


def test_a_sentence_is_traced_number_by_number(sources):
    text = "Reaches 1.304 bit/byte within 8.3 min with p99 of 271 ms on 2 cores, under a bound of 250 ms."
    pieces = sources.trace(text)
    assert sources.words(pieces) == text
    found = {p.text: p.source for p in pieces if isinstance(p, Traced)}
    assert found["1.304 bit/byte"] == Cite(id="evaluate.bits_per_byte")
    assert found["271 ms"] == Cite(id="serve.ttft_p99")
    assert len(found) == 5 and isinstance(pieces[0], Words)


@pytest.mark.parametrize(
    "text",
    [
        "30 % faster than before",
        "reaches 1.1 bit/byte",
        "reaches 1.305 bit/byte",
        "takes 271 s",
        "an accuracy of 271 %",
        "costs −460 s",
        "grew x2.5",
        "٣ times",
    ],
)
def test_a_fabricated_number_is_refused(sources, text):
    with pytest.raises(UnsourcedNumber):
        sources.trace(text)


@given(st.floats(1.5, 9.5).map(lambda v: f"{v:.4f}"))
def test_a_made_up_number_with_four_decimals_never_passes(value):
    facts = Sources.of_run(_FACTS)
    candidates = [Cite(id="evaluate.bits_per_byte")]
    with pytest.raises(UnsourcedNumber):
        facts.trace(f"The loss is {value}.", candidates)


def _facts():
    import tempfile
    from pathlib import Path

    return run_facts(Path(tempfile.mkdtemp()), brief=brief())


_FACTS = _facts()


@pytest.mark.parametrize(
    "value, kind, said", [(1.4, "cited", "1.4"), (0.04, "cited", "0.04"), (1.4, "measured", "1.40")]
)
def test_a_cited_number_has_no_digits_that_its_source_had_not(value, kind, said):
    evidence = Evidence(id="a.b", metric="b", value=value, unit="1", kind=kind, source="x")
    assert value_text(evidence).split()[0] == said
