import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.spec.brief import Brief, Target
from aether.spec.errors import InputError
from aether.spec.metrics import METRICS
from aether.spec.units import DIMENSIONS, humanize, parse_quantity


@pytest.mark.parametrize(
    ("text", "metric", "value"),
    [
        ("ttft_p99 <= 250 ms", "ttft_p99", 0.25),
        ("parameters >= 7B", "parameters", 7e9),
        ("build_time≤10min", "build_time", 600.0),
        ("build_cost <= $0.50", "build_cost", 0.5),
        ("line_accuracy >= 35 %", "line_accuracy", 0.35),
        ("size_on_disk <= 12 MB", "size_on_disk", 12e6),
        ("serving_memory <= 1.5 GiB", "serving_memory", 1.5 * 2**30),
    ],
)
def test_targets_as_people_write_them(text, metric, value):
    target = Target.model_validate(text)
    assert (target.metric, target.value) == (metric, pytest.approx(value))
    assert Target.model_validate(target.model_dump()) == target


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("speed <= 3", "targets.metric"),
        ("ttft_p99 <= 250 MB", "targets.ttft_p99"),
        ("ttft_p99 >= 250 ms", "targets.comparison"),
        ("ttft_p99 250 ms", "targets"),
        ("ttft_p99 <= -1 ms", "targets.value"),
        ("ttft_p99 <= many ms", "targets.ttft_p99"),
    ],
)
def test_a_bad_target_names_the_field(text, field):
    with pytest.raises(InputError) as raised:
        Target.model_validate(text)
    assert raised.value.details["field"] == field


def test_a_metric_is_bounded_once():
    with pytest.raises(InputError, match="bound each metric once"):
        Brief(targets=["itl_p99 <= 1 s", "itl_p99 <= 2 s"])


@given(st.sampled_from(sorted(DIMENSIONS)), st.floats(1e-6, 1e12))
def test_a_quantity_in_its_canonical_unit_is_itself(unit, value):
    assert parse_quantity(f"{value!r} {unit if unit != 'count' else ''}", unit) == value


@given(st.text())
def test_no_text_breaks_the_parser(text):
    try:
        value = parse_quantity(text, "s")
    except InputError:
        return
    assert isinstance(value, float)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.25, "s", "250 ms"),
        (600, "s", "10 min"),
        (7e9, "count", "7 B"),
        (1.234e7, "byte", "12.3 MB"),
        (0.351, "fraction", "35.1 %"),
        (1.6, "bit/byte", "1.6 bit/byte"),
    ],
)
def test_numbers_as_people_read_them(value, unit, text):
    assert humanize(value, unit) == text


def test_every_metric_has_a_known_unit():
    assert all(metric.unit in DIMENSIONS for metric in METRICS.values())
