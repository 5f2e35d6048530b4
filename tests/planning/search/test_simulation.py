"""Traffic files and traces through a deployment: the numbers move as they must, and bad files are refused by field."""

import pytest

from aether.planning.search.simulation import simulated
from aether.planning.serving.traffic_file import read_traffic
from aether.spec.errors import InputError

BASE = """
requests = 150
arrivals = { kind = "poisson", requests_per_s = RATE }
prompt = { kind = "fixed", tokens = 500 }
output = { kind = "fixed", tokens = 60 }
"""


def answer(tmp_path, text, *settings, devices=1):
    file = tmp_path / "traffic.toml"
    file.write_text(text, encoding="utf-8")
    found = simulated("llama-3.1-8b", file, "H100-SXM-80GB", devices, ("tp=1", *settings))
    return {e.metric: e for e in found.estimates}, found


def test_more_load_waits_longer_and_a_second_replica_helps(tmp_path):
    calm, _ = answer(tmp_path, BASE.replace("RATE", "2"))
    busy, _ = answer(tmp_path, BASE.replace("RATE", "40"))
    eased, _ = answer(tmp_path, BASE.replace("RATE", "40"), devices=2)
    assert calm["ttft_p99"].value < busy["ttft_p99"].value and calm["itl_p50"].value < busy["itl_p50"].value
    assert eased["ttft_p99"].value < busy["ttft_p99"].value
    for estimate in busy.values():
        if estimate.interval is not None:
            assert estimate.interval.low <= estimate.value <= estimate.interval.high


def test_a_promise_gives_replicas_and_a_share_of_good_requests(tmp_path):
    text = BASE.replace("RATE", "20") + "promise = { ttft_s = 1.0, token_s = 0.05, share = 0.9 }\n"
    numbers, found = answer(tmp_path, text)
    assert 0 <= numbers["good_share"].value <= 1
    assert any("replicas for the promise" in sentence for sentence in found.findings)


def test_drafts_are_judged_at_the_batch_that_settles(tmp_path):
    text = BASE.replace("RATE", "2") + "speculation = { acceptance = 0.8, draft_tokens = 4 }\n"
    _, found = answer(tmp_path, text)
    assert any("times as fast" in sentence for sentence in found.findings)


def test_a_trace_is_replayed_as_it_is(tmp_path):
    file = tmp_path / "trace.csv"
    rows = "\n".join(f"{i * 0.5},{300 + i},{20}" for i in range(40))
    file.write_text(f"arrival_s,prompt_tokens,output_tokens\n{rows}\n", encoding="utf-8")
    asked = read_traffic(file)
    assert [r.prompt_tokens for r in asked.traffic.draw(0)] == [300 + i for i in range(40)]
    found = simulated("llama-3.1-8b", file, "H100-SXM-80GB", 1, ("price_usd_per_hour=2.5",))
    cost = next(e for e in found.estimates if e.metric == "cost_per_million_tokens")
    assert cost.value is not None and cost.value > 0


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (BASE.replace("RATE", "-1"), "requests_per_s"),
        (BASE.replace("RATE", "2") + "colour = 'red'\n", "colour"),
        (BASE.replace("RATE", "2").replace("poisson", "sometimes"), "arrivals"),
        (BASE.replace("RATE", "2") + "promise = { share = 2 }\n", "promise.share"),
        (BASE.replace("RATE", "2") + "promise = { ttft_s = 1e-9 }\n", "promise.ttft_s"),
        (BASE.replace("RATE", "2") + "link = { bytes_per_s = 1e9 }\n", "link"),
    ],
)
def test_a_bad_file_names_the_field(tmp_path, text, field):
    with pytest.raises(InputError, match=field):
        answer(tmp_path, text)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2\n", "columns"),
        ("arrival_s,prompt_tokens,output_tokens\n", "no rows"),
        ("arrival_s,prompt_tokens,output_tokens\n0,x,1\n", ":2"),
    ],
)
def test_a_bad_trace_names_its_place(tmp_path, content, said):
    file = tmp_path / "trace.csv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_traffic(file)


def test_devices_are_whole_replicas(tmp_path):
    with pytest.raises(InputError, match="devices"):
        answer(tmp_path, BASE.replace("RATE", "2"), "tp=2", devices=3)
