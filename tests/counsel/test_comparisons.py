"""Hardware side by side: with the count of each side and the load that was read, and without."""

import pytest
from asked import headings, words

from aether.counsel.answering import answer
from aether.counsel.answers.asking import with_settings
from aether.counsel.answers.brief_text import brief_toml
from aether.counsel.reading.request import read_request
from aether.planning.search.problem import problem_of
from aether.spec.brief import Brief, Hardware, ModelChoice


def _asked(text):
    found = answer(read_request(text))
    assert found.status == "answered", words(found)
    return found


def _said(found, title):
    """A section of the page, as words."""
    text = words(found)
    titles = headings(found)
    after = titles[titles.index(title) + 1]
    return text[text.index(f"## {title} ") : text.index(f"## {after} ")]


def _value(found, metric, device):
    return next(e.value for e in found.page.evidence if e.metric == metric and e.id.split(".")[0].endswith(device))


def test_each_side_has_its_own_count_at_the_load_that_was_read():
    found = _asked("8 H100 or 4 B200 for llama-3.3-70b at 30 rps?")
    decision, options = _said(found, "Decision"), _said(found, "Options")
    assert "llama-3.3-70b on 4 B200" in decision and "30 requests/s" in decision
    assert "8 H100-SXM-80GB" in options and "clients" not in options and "not used" not in words(found)
    for device in ("H100-SXM-80GB", "B200"):
        assert _value(found, "capacity", device) >= 30
        assert _value(found, "ttft_p99", device) < 5, "a side that keeps up has no queue without end"
    assert _value(found, "cost_of_side", "B200") < _value(found, "cost_of_side", "H100-SXM-80GB")
    assert "Recipe" in headings(found) and "rate=" in words(found)


def test_a_side_that_does_not_hold_the_load_is_said_not_to_and_not_decided():
    found = _asked("4 H100 or 4 B200 for llama-3.3-70b at 30 rps")
    decision = _said(found, "Decision")
    assert "only one that holds 30 requests/s: llama-3.3-70b on 4 B200" in decision
    assert "on 4 H100-SXM-80GB does not hold it" in decision
    assert not [e for e in found.page.evidence if e.metric == "capacity" and "H100" in e.id]


def test_where_neither_side_holds_what_would_is_said_and_holds():
    found = _asked("2x A100 vs 1x H100 for llama-3.3-70b at 30 rps")
    decision = _said(found, "Decision")
    assert "Neither holds 30 requests/s" in decision and "What would hold it" in decision
    assert "on H100-SXM-80GB: take 8 devices" in decision and "heapest" not in decision
    again = _asked("8 A100 or 8 H100 for llama-3.3-70b at 30 rps")
    assert "only one that holds 30 requests/s: llama-3.3-70b on 8 H100-SXM-80GB" in _said(again, "Decision")


def test_a_missed_target_is_not_held():
    found = _asked("compare 8 H100 with 4 B200 for llama-3.3-70b at 30 rps, first token p99 under 20 ms")
    assert "Neither holds 30 requests/s within the targets" in _said(found, "Decision")


def test_counts_without_a_load_are_copies_under_one_loop():
    counted, bare = _asked("8 H100 or 4 B200 for llama-3.3-70b?"), _asked("H100 or B200 for llama-3.3-70b?")
    assert "on 4 B200" in _said(counted, "Decision") and "on 1 B200" in _said(bare, "Decision")
    for device, copies in (("H100-SXM-80GB", 4), ("B200", 4)):
        assert _value(counted, "throughput", device) == pytest.approx(copies * _value(bare, "throughput", device))
        cost = "cost_per_million_tokens"
        assert _value(counted, cost, device) == pytest.approx(_value(bare, cost, device))


def test_a_load_without_counts_gives_each_side_what_it_needs():
    found = _asked("H100 or B200 for llama-3.3-70b at 30 rps?")
    counts = {e.id: e.value for e in found.page.evidence if e.id.startswith("side-") and e.id.endswith(".count")}
    assert len(counts) == 2 and all(count >= 4 for count in counts.values())
    assert "Cheapest that holds 30 requests/s" in _said(found, "Decision")
    assert all(e.kind == "computed" for e in found.page.evidence if e.id in counts), "nobody said how many there are"


def test_idle_devices_are_paid_for():
    three, two = _asked("3 H100 or 1 B200 for llama-3.3-70b?"), _asked("2 H100 or 1 B200 for llama-3.3-70b?")
    costs = [_value(one, "cost_per_million_tokens", "H100-SXM-80GB") for one in (three, two)]
    assert costs[0] == pytest.approx(1.5 * costs[1])


def test_a_side_that_does_not_hold_the_model_does_not_fit():
    assert "None of these holds the model" in _said(_asked("1 L4 vs 2 T4 for llama-3.1-70b"), "Decision")


def test_counts_of_each_reach_a_plan_and_come_back_from_its_file():
    counts = {"H200-SXM-141GB": 4, "L40S": 8}
    hardware = Hardware(name="H200-SXM-141GB", others=("L40S",), counts=counts)
    brief = Brief(model=ModelChoice(name="llama-3.1-8b", task="serve"), hardware=hardware)
    assert {p.device.name: p.count for p in problem_of(brief).hardware} == counts
    assert '"L40S" = 8' in brief_toml(brief)
    assert with_settings(brief, ("hardware.count=2",)).hardware.counts == counts
    assert with_settings(brief, ("hardware.counts={}", "hardware.count=2")).hardware.count_of("L40S") == 2
    assert "counts" not in Hardware(name="L40S", count=2).model_dump()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("4 nodes of H100", 32),
        ("4 nodes of 8 H100", 32),
        ("two H200 nodes", 16),
        ("8xH100 nodes", 8),
        ("2 nodes of GB200", 2),
        ("one server with an A100", 1),
    ],
)
def test_a_node_holds_what_is_on_record(text, count):
    assert read_request(f"serve llama-3.1-8b on {text} at 5 req/s").brief.hardware.count == count
