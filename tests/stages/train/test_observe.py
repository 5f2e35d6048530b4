"""What a training shows of itself: norms and activations against plain computations, alerts, the trace; and that none of it changes a weight."""

import json

import pytest
import torch
from tiny_data import VOCABULARY
from tiny_training import CONFIG, context, lines, recipe, same_weights, train

from aether.models.parts.decoder import decoder
from aether.spec.errors import InputError
from aether.stages.train.alerts import Alerts, sentence
from aether.stages.train.fakes import CountingTokens
from aether.stages.train.loop import Loop, new_state
from aether.stages.train.observe import Look, Observer, activations
from aether.stages.train.recipe_watch import Watch

torch.set_num_threads(1)
OFTEN = Watch(cost_share=1.0)


def test_norms_are_those_of_the_layers_tensors():
    model = decoder(CONFIG)
    tokens, _ = (torch.from_numpy(a) for a in CountingTokens(VOCABULARY, 16).batch(0, 2))
    model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
    named = [(name, p) for name, p in model.named_parameters() if p.grad is not None]
    look = Look(model, named, tokens[0, :-1])
    with torch.no_grad():
        for _, parameter in named:
            assert parameter.grad is not None
            parameter -= 0.5 * parameter.grad
    seen = look.finish()
    assert set(seen["layers"]) == {"embedding", "blocks.0", "blocks.1", "final_gain"}
    for layer, norms in seen["layers"].items():
        of = [p for name, p in named if name.startswith(layer)]
        gradient = torch.cat([p.grad.flatten() for p in of if p.grad is not None])
        before = torch.cat([(p.detach() + 0.5 * p.grad).flatten() for p in of if p.grad is not None])
        assert norms["grad"] == pytest.approx(gradient.norm().item(), rel=1e-5)
        assert norms["update"] == pytest.approx(0.5 * norms["grad"], rel=1e-3)
        assert norms["weight"] == pytest.approx(before.norm().item(), rel=1e-5)
    assert look.cost_s > 0


@pytest.mark.parametrize("changes", [{}, {"activation": "relu2", "qk_norm": "none"}])
def test_activations_are_what_a_plain_pass_gives(changes):
    config = CONFIG.model_copy(update=changes)
    model = decoder(config)
    with torch.no_grad():
        for block in model.blocks:
            for name, parameter in block.named_parameters():
                if name.endswith(("up", "gate_up")):
                    parameter[: 48 if config.gated else 20] = 0.0
    window = torch.arange(16) % VOCABULARY
    seen = activations(model, window)
    assert len(seen) == 2 and all(
        set(one) == {"rms", "max", "dead", "attention_max", "attention_entropy"} for one in seen
    )
    streams = []
    hooks = [b.register_forward_hook(lambda _, __, out: streams.append(out)) for b in model.blocks]
    model.hidden(window[None])
    for hook in hooks:
        hook.remove()
    for one, stream in zip(seen, streams, strict=True):
        assert one["rms"].item() == pytest.approx(stream.square().mean().sqrt().item(), rel=1e-5)
        assert one["max"].item() == pytest.approx(stream.abs().max().item(), rel=1e-5)
    dead = 48 / 64 if config.gated else 20 / 64
    assert dead <= seen[0]["dead"].item() < dead + 0.1, "some are dead by themselves"


def test_scores_and_entropy_are_those_of_the_softmax():
    from aether.models import taps
    from aether.stages.train.observe import _Seen

    torch.manual_seed(0)
    q, k = torch.randn(1, 4, 12, 8), torch.randn(1, 2, 12, 8)
    seen = _Seen()
    with taps.watching(seen):
        taps.attention(q, k, 0.3)
    scores = 0.3 * q @ k.repeat_interleave(2, dim=1).mT
    mask = torch.ones(12, 12, dtype=torch.bool).tril()
    weights = torch.softmax(scores.masked_fill(~mask, float("-inf")), dim=-1)
    entropy = -torch.special.xlogy(weights, weights).sum(-1).mean()
    assert seen._open["attention_max"].item() == pytest.approx(scores[..., mask].max().item(), rel=1e-5)
    assert seen._open["attention_entropy"].item() == pytest.approx(entropy.item(), rel=1e-5)


def test_looks_stay_within_their_share_of_the_time():
    observer = Observer(Watch(cost_share=0.02))
    assert not observer.due
    looks = 0
    for _ in range(1000):
        if observer.due:
            observer.spent(0.3)
            looks += 1
            observer.worked(1.3)
        else:
            observer.worked(1.0)
    assert 50 <= looks <= 67 and looks * 0.3 <= 0.02 * (1000 + looks * 0.3)
    never = Observer(Watch(cost_share=0.0))
    never.worked(1.0)
    assert not never.due


def test_looking_changes_no_weight_and_leaves_its_lines(tmp_path):
    watched = train(tmp_path / "watched", recipe(steps=30, watch=OFTEN))
    blind = train(tmp_path / "blind", recipe(steps=30, watch=Watch(cost_share=0.0)))
    assert same_weights(watched, blind)
    assert not (tmp_path / "blind" / "layers.jsonl").exists()
    rows = lines(tmp_path / "watched", "layers.jsonl")
    assert len(rows) > 3 and rows[-1]["rates"].keys() >= {"muon", "embedding", "gain"}
    assert rows[-1]["rates"]["muon"] == pytest.approx(lines(tmp_path / "watched")[rows[-1]["step"] - 1]["lr"])
    row = lines(tmp_path / "watched")[-1]
    assert 0 < row["data_wait_s"] < row["step_s"] and row["memory_bytes"] > 50e6


def test_alerts_are_given_once_and_again_after_it_was_well():
    alerts = Alerts(Watch(thresholds={"update-ratio": 0.2}))
    high = {"layers": {"a": {"update": 3.0, "weight": 10.0}}, "activations": {"blocks.0": {"dead": 0.1}}}
    well = {"layers": {"a": {"update": 0.1, "weight": 10.0}}, "activations": {}}
    given = [alerts.look(high) for _ in range(5)]
    assert [len(one) for one in given] == [0, 0, 1, 0, 0]
    assert given[2][0] == {"key": "update-ratio", "value": 0.3, "threshold": 0.2}
    assert "updates are large against the weights (0.3, above 0.2)" in sentence(given[2][0])
    other = Alerts(Watch())
    other.load(json.loads(json.dumps(alerts.state())))
    assert other.state() == alerts.state()
    alerts.look(well)
    assert sum(len(alerts.look(high)) for _ in range(3)) == 1 and alerts.fired == {"update-ratio": 2}


def test_slow_data_a_slow_machine_and_growing_gradients_are_told():
    alerts = Alerts(Watch())
    steady = [one for _ in range(120) for one in alerts.update(1000.0, 0.01, 1.0)]
    assert steady == []
    later = [one for _ in range(120) for one in alerts.update(500.0, 0.5, 9.0)]
    assert {one["key"]: round(one["value"], 3) for one in later} == {
        "data-wait": 0.5, "slower": 0.5, "gradient-growth": 9.0
    }  # fmt: skip


def test_a_run_tells_its_alerts_live_and_keeps_them(tmp_path):
    heard = []
    wanted = recipe(steps=40, watch=Watch(cost_share=1.0, thresholds={"update-ratio": 1e-6}))
    state = train(tmp_path, wanted, heard=heard)
    (row,) = [row for row in lines(tmp_path, "alerts.jsonl") if row["key"] == "update-ratio"]
    assert state.alerts.fired["update-ratio"] == 1 and row["value"] > row["threshold"] == 1e-6
    assert any("updates are large against the weights" in p.message for p in heard)


def test_an_unknown_alert_is_refused():
    with pytest.raises(InputError, match="no such alert; one of update-ratio"):
        Watch(thresholds={"nothing": 1.0})


def test_a_trace_has_our_spans_and_changes_nothing(tmp_path):
    traced = train(tmp_path / "traced", recipe(steps=6, profile_steps=(3, 4)))
    events = json.loads((tmp_path / "traced" / "trace.json").read_text())["traceEvents"]
    names = [event.get("name") for event in events]
    for span in ("aether.data", "aether.forward", "aether.backward", "aether.clip", "aether.update"):
        assert names.count(span) == 2, span
    assert any(str(name).startswith("aten::mm") for name in names)
    assert same_weights(traced, train(tmp_path / "plain", recipe(steps=6)))
    with pytest.raises(InputError, match="between 1 and steps = 6"):
        recipe(steps=6, profile_steps=(4, 9))


def test_the_watch_is_in_no_old_fingerprint():
    assert not {"watch", "profile_steps"} & set(recipe().model_dump())


def test_compiled_runs_are_looked_at_by_plain_blocks(tmp_path):
    loop = Loop(recipe(watch=OFTEN), new_state(recipe(), 0), CountingTokens(VOCABULARY, 16), context(tmp_path))
    loop.state.model.compiled = True
    assert len(activations(loop.state.model, torch.arange(16))) == 2
