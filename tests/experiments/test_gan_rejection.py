"""Rejection by a critic: samples of a bad generator become more like the data."""

import jax
import numpy as np
from flax import linen as nn

from experiments.gan import Config, build
from experiments.shared import gan_rejection
from experiments.shared.measures import evaluate_samples
from experiments.shared.registry import Saved
from gen_jax import data, gan


class Wide(nn.Module):
    """A Gaussian over all eight modes, and nothing to learn."""

    @nn.compact
    def __call__(self, z, condition=None, train=True):
        return 1.2 * z[:, :2] + 0 * self.param("none", nn.initializers.zeros, ())


def saved_run(config):
    """A run with that generator, and its data."""
    spec, train = data.describe(config.dataset), data.load(config.dataset, "train")
    model = gan.model_from_parts(build(config, spec).parts._replace(generator=Wide()))
    state = model.init(jax.random.key(0), data.take(train, jax.numpy.arange(2)))
    return Saved("gan", None, config, spec, model, state, 0), train


def test_a_critic_trained_on_alone_tells_good_samples(monkeypatch):
    """Of the Gaussian's draws some six per cent lie within three deviations of a mode."""
    monkeypatch.setattr(gan_rejection, "STEPS", 200)
    saved, train = saved_run(Config(dataset="8gaussians"))
    test = {"x": data.load("8gaussians", "test")["x"][:2000]}
    free = np.asarray(saved.model.sample(jax.random.key(3), saved.state, 2000))
    before = evaluate_samples(saved, free, train, test, brief=True)
    found = gan_rejection.after_rejection(saved, test)
    assert 0 < found["rejection_acceptance"] < 0.7
    assert found["rejection_high_quality"] > 1.5 * before["high_quality"]


def test_a_critic_that_lets_nothing_pass_is_only_counted(monkeypatch):
    monkeypatch.setattr(gan_rejection, "STEPS", 0)
    monkeypatch.setattr(gan_rejection, "FEWEST", 2.0)
    saved, _ = saved_run(Config(dataset="8gaussians"))
    test = {"x": data.load("8gaussians", "test")["x"][:2000]}
    found = gan_rejection.after_rejection(saved, test)
    assert set(found) == {"rejection_acceptance", "rejection_above"}


def test_only_ratios_are_used():
    config = Config(dataset="8gaussians", loss="wgan", penalty="wgan_gp")
    saved, train = saved_run(config)
    assert gan_rejection.after_rejection(saved, train) == {}
