"""Options of the flows' experiments that cannot work are refused before anything is trained."""

import pytest

from experiments import ffjord, flow, glow, tarflow
from gen_jax import data
from gen_jax.errors import ConfigError


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (flow, {"flow": "real_nvp"}, "did you mean 'realnvp'"),
        (flow, {"layers": 0}, "layers=0"),
        (flow, {"conditional": True}, "has no labels"),
        (flow, {"learning_rate": 0.0}, "learning_rate=0.0"),
        (glow, {"dataset": "8gaussians"}, "glow needs images"),
        (glow, {"levels": 4}, "height 1 and width 1 must be multiples of 2"),
        (glow, {"dequantization": "none"}, "dequantization='none'"),
        (glow, {"coupling": "cubic"}, "coupling='cubic'"),
        (glow, {"mixing": "qr"}, "mixing='qr'"),
        (ffjord, {"divergence": "trace"}, "divergence='trace'"),
        (ffjord, {"jacobian": -1.0}, "jacobian=-1.0"),
        (tarflow, {"dataset": "moons"}, "tarflow needs images"),
        (tarflow, {"patch": 3}, "multiples of 3"),
        (tarflow, {"noise": 0.0}, "noise=0.0"),
        (tarflow, {"inversion": "newton"}, "inversion='newton'"),
    ],
)
def test_refused(module, options, message):
    config = module.Config(**options)
    with pytest.raises(ConfigError, match=message):
        module.build(config, data.describe(config.dataset))
