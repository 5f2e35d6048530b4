import numpy as np
import pytest

from aether.evidence.statistics import quantile
from aether.stages.serve.summary import Timing, clustered_quantile, latency, throughput


def timing(index, due=0.0, pieces=(), tokens=None, error=None, phase="open"):
    return Timing(
        phase=phase, index=index, prompt="p", due_s=due, started_s=due + 0.5, ended_s=pieces[-1] if len(pieces) else due + 1,
        pieces_s=tuple(pieces), prompt_tokens=3, output_tokens=len(pieces) if tokens is None else tokens,
        status=200, finish="length", error=error,
    )  # fmt: skip


def test_latency_counts_from_when_a_request_was_due():
    found = [timing(i, due=float(i), pieces=(i + 1.0, i + 1.25, i + 2.0)) for i in range(400)]
    report = latency(found, 0.95, 0)
    assert report.metrics["ttft_p50"].value == pytest.approx(1.0)
    assert report.metrics["e2e_p99"].value == pytest.approx(2.0)
    assert report.metrics["itl_p50"].value == pytest.approx(0.25) and report.metrics["itl_p99"].value == pytest.approx(
        0.75
    )
    assert report.client_lag_p99_s == pytest.approx(0.5) and report.errors == 0


def test_failed_requests_are_counted_and_not_timed():
    report = latency([timing(0, pieces=(1.0, 2.0)), timing(1, error="HTTP 429")], 0.95, 0)
    assert (report.requests, report.errors) == (2, 1)
    assert not latency([timing(1, error="x")], 0.95, 0).metrics


def test_a_clustered_quantile_is_the_pooled_one_with_a_wider_interval_when_requests_differ():
    rng = np.random.default_rng(0)
    groups = [rng.normal(centre, 0.01, 30) for centre in rng.normal(1, 0.2, 40)]
    pooled = quantile(np.concatenate(groups), 0.5)
    found = clustered_quantile(groups, 0.5, 0.95, 0)
    assert found.value == pooled.value and (found.n, found.clusters) == (1200, 40)
    assert found.interval.high - found.interval.low > 2 * (pooled.interval.high - pooled.interval.low)
    assert clustered_quantile(groups, 0.5, 0.95, 0) == found


def test_the_clustered_interval_covers():
    rng, hits = np.random.default_rng(1), 0
    for _ in range(100):
        groups = [rng.normal(centre, 0.3, 5) for centre in rng.normal(0, 1, 60)]
        interval = clustered_quantile(groups, 0.5, 0.95, 0).interval
        hits += interval.low <= 0 <= interval.high
    assert 88 <= hits <= 100


def test_throughput_counts_tokens_inside_the_window_only():
    steady = [timing(i, pieces=np.arange(0.05, 10, 0.1), phase="closed") for i in range(5)]
    found = throughput(steady, (2.0, 8.0), 0.95)
    assert found.value == pytest.approx(50, rel=0.02)
    assert throughput([timing(0, pieces=(2.5, 9.0), tokens=8)], (2.0, 4.0), 0.95).value == pytest.approx(2.0)
