"""Every place that a recurrent mixer stands in knows all of them: a new one that was forgotten somewhere is named here."""

from typing import get_args

import pytest
from parts_toys import shape, tokens_of

from aether.models import accounting_parts
from aether.models.accounting import flops_per_token
from aether.models.accounting_activations import layer_kept
from aether.models.config_mixers import _OWN, RECURRENT, matrices, state_shapes
from aether.models.config_parts import MixerName
from aether.models.parts.decoder import decoder
from aether.models.parts.mixers import MIXERS


def test_all_lists_of_mixers_are_one():
    known = set(RECURRENT)
    assert {"attention", *known} == set(get_args(MixerName))
    assert known == set(MIXERS) == set(_OWN)
    assert known <= set(accounting_parts._RECURRENCES) & set(accounting_parts.STATE_FLOPS)


@pytest.mark.parametrize("mixer", RECURRENT)
def test_a_mixer_is_counted_as_it_is(mixer):
    """Weights and states that exist, FLOPs and kept values that are no other mixer's."""
    config = shape(mixer=mixer)
    sizes = config.recurrence_at(1)
    assert sizes is not None and sizes.form == mixer
    model = decoder(config)
    assert sum(p.numel() for p in model.parameters()) == config.parameters()
    named = {name.rsplit(".", 1)[-1] for name, p in model.named_parameters() if ".mixer." in name and p.ndim == 2}
    assert named == set(matrices(sizes, config.hidden_size))
    assert state_shapes(sizes, config.hidden_size).keys() >= {"state"}
    others = [shape(mixer=other) for other in RECURRENT if other != mixer]
    for count in (lambda c: flops_per_token(c.architecture(), 64).total, lambda c: layer_kept(c, 1)):
        assert count(config) not in [count(other) for other in others]
    assert model(tokens_of(config, tokens=9)).isfinite().all()
