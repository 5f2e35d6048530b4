"""Published losses of quality: what the tables hold, what is interpolated, what is unknown."""

import pytest

from aether.knowledge.library import compressed
from aether.planning.scaling.compression import in_distribution, methods, quality_loss
from aether.spec.errors import InputError


def test_a_row_of_the_table_is_cited():
    found = quality_loss("wanda-50%", 16, 6.7e9, "Llama-2-7B")
    assert found.value == pytest.approx(6.42 / 5.12 - 1)
    assert (found.kind, found.metric) == ("cited", "relative_perplexity_rise")
    assert "out of distribution" not in found.formula
    assert in_distribution("wanda-50%", 16, 6.7e9, "llama-2-7b")


def test_another_model_of_the_size_is_out_of_distribution():
    found = quality_loss("wanda-50%", 16, 7e9, "Qwen3-7B")
    assert found.value == pytest.approx(6.42 / 5.12 - 1) and "out of distribution for Qwen3-7B" in found.formula
    assert not in_distribution("wanda-50%", 16, 7e9, "Qwen3-7B")


def test_between_two_sizes_is_computed_and_between_their_losses():
    small, middle, large = (quality_loss("aqlm", 2, n) for n in (1.302e10, 3e10, 6.898e10))
    assert middle.kind == "computed" and "out of distribution" in middle.formula
    low, high = sorted((small.value, large.value))  # type: ignore[type-var]
    assert low < middle.value < high  # type: ignore[operator]


def test_outside_the_sizes_is_unknown_with_a_protocol():
    found = quality_loss("wanda-2:4", 16, 1e9)
    assert found.value is None and found.protocol and "Llama-2-7B" in found.formula


def test_assumed_rows_stay_assumed():
    assert quality_loss("sparsegpt-50%", 16, 1.746e11, "OPT-175B").kind == "assumed"
    assert quality_loss("fp8-dynamic", 8, 8.03e9).metric == "relative_accuracy_fall"


def test_tables_of_awq_and_gptq_as_published():
    """AWQ, table 4: 5.60 of 5.47 at four bits in groups of 128. GPTQ: OPT-66B without groups is the exception, 110 by rounding."""
    awq = quality_loss("awq-g128", 4, 6.74e9, "Llama-2-7B")
    assert awq.kind == "cited" and awq.value == pytest.approx(5.60 / 5.47 - 1)
    assert quality_loss("rtn", 4, 6.57e10, "OPT-66B").value == pytest.approx(110 / 9.34 - 1)
    assert quality_loss("awq-g128", 4, 8.03e9, "Llama-3-8B").formula.startswith("out of distribution")


@pytest.mark.parametrize("ask", [("voodoo", 4, 7e9), ("wanda-50%", 4, 7e9), ("aqlm", 2, 0.0)])
def test_what_no_table_holds_is_refused(ask):
    with pytest.raises(InputError):
        quality_loss(*ask)


def test_every_row_is_a_plausible_ratio_with_its_source():
    names = [row.name for row in compressed()]
    assert len(set(names)) == len(names)
    for row in compressed():
        assert row.kind in ("cited", "assumed") and len(row.source) >= 10
        worse = row.compressed / row.baseline if row.metric == "perplexity" else row.baseline / row.compressed
        assert 0.95 < worse < 50, row.name
    assert all(bits for bits in methods().values())


def test_more_bits_are_never_worse_in_one_table():
    for method, model in (("gptq", "OPT-125M"), ("gptq", "OPT-175B"), ("gptq-g128", "Llama-2-7B")):
        rows = sorted((row for row in compressed() if (row.method, row.model) == (method, model)), key=lambda r: r.bits)
        assert len(rows) > 1
        assert [row.compressed for row in rows] == sorted((row.compressed for row in rows), reverse=True)
