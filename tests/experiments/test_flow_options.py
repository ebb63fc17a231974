"""Options of the flows' experiments: those that cannot work are refused, rare ones train."""

import jax
import numpy as np
import pytest

from experiments import ffjord, flow, glow, manifold, tarflow
from experiments.shared import runner
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
        (glow, {"levels": 3, "architecture": "realnvp"}, "levels=3 leaves one pixel"),
        (glow, {"dequantization": "none"}, "dequantization='none'"),
        (glow, {"coupling": "cubic"}, "coupling='cubic'"),
        (glow, {"mixing": "qr"}, "mixing='qr'"),
        (manifold, {"dataset": "moons"}, "manifold needs images"),
        (manifold, {"latent": 64}, "latent=64"),
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


def test_realnvp_of_images_trains_with_learnt_noise(command, tmp_path):
    options = ("--architecture", "realnvp", "--dequantization", "variational", "--levels", 1)
    sizes = ("--width", 4, "--batch-size", 8, "--steps", 2, "--directory", tmp_path)
    ended = command("glow", *options, *sizes)
    assert ended.code == 0, ended.err
    assert (tmp_path / "samples" / "temperatures_and_walks.png").stat().st_size
    saved = runner.rebuild(tmp_path)
    assert saved.model.log_prob_kind == "lower bound"
    x = data.load("digits", "test")["x"][:4]
    log_p = jax.jit(saved.model.log_prob)(jax.random.key(0), saved.state, x)
    assert np.isfinite(log_p).all()
