"""Runs that break, options and data that cannot work: one line with the network's name."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_gans import ADAM, QUIET, Classifier, Normalised, Scores, make, normal_data

from gen_jax import training
from gen_jax.conditions import captions, labels
from gen_jax.errors import ConfigError, NumericalError
from gen_jax.gan_nets import MLPCritic, MLPGenerator, UNetGenerator


def test_a_critic_that_turns_to_nan_stops_the_run_by_its_name(tmp_path):
    """The step, the network first, and the checkpoint that is still good."""
    rate = lambda count: jnp.where(count < 5, 1e-3, jnp.inf)
    model = make(rates=(ADAM, optax.sgd(rate)))
    with pytest.raises(NumericalError, match=r"^critic_.* not finite at step 6; .*4"):
        training.fit(
            jax.random.key(0),
            model,
            normal_data(),
            steps=20,
            directory=tmp_path,
            save_every=4,
            **QUIET,
        )


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"loss": "wgn"}, "did you mean 'wgan'"),
        ({"penalty": "r3"}, "penalty='r3'"),
        ({"penalty_weight": 3.0}, "penalty_weight=3.0 was given without a penalty"),
        ({"lazy_interval": 8}, "lazy_interval=8 was given without a penalty"),
        ({"loss": "began", "penalty": "r1"}, "reconstruction errors"),
        ({"loss": "began", "freeze_above": 0.8}, "balance k"),
        ({"clip": 0.1, "penalty": "wgan_gp"}, "choose one"),
        ({"unroll": 1, "consensus": 1.0}, "choose one"),
        ({"accumulate": 2, "consensus": 1.0}, "whole batch at once"),
        ({"adversarial": 0.0}, "no loss"),
        ({"augment": ("color",)}, "for images"),
        ({"conditional": "concat"}, "condition=None"),
        ({"condition": labels(3)}, "conditional='none'"),
        ({"condition": captions(5, 2), "conditional": "ac"}, "must be labels"),
        ({"condition": 3, "conditional": "ac"}, "condition=3"),
        ({"matching": 0.5}, "matching=0.5 needs a critic that sees"),
        ({"interpolation": -1.0}, "interpolation=-1"),
        ({"conditional": "info"}, "code="),
        ({"conditional": "label"}, "conditional='label'"),
        ({"n_critic": 0}, "n_critic"),
        ({"freeze_above": 0.3}, "freeze_above"),
        ({"ema_decay": 2.0}, "ema_decay"),
    ],
)
def test_bad_options(options, word):
    with pytest.raises(ConfigError, match=word):
        make(**options)


LABELLED = {"condition": labels(2), "generator": MLPGenerator((2,), (8,))}


@pytest.mark.parametrize(
    ("options", "batch", "word"),
    [
        ({"n_critic": 5}, {"x": np.zeros((24, 2))}, "24 is not divisible by n_critic=5"),
        ({"n_critic": 4, "accumulate": 4}, {"x": np.zeros((24, 2))}, "6 is not .* accumulate=4"),
        ({}, {"x": np.zeros((24, 3))}, "does not fit"),
        ({"generator": UNetGenerator(1, (4, 4))}, {"x": np.zeros((24, 2))}, "generator must be ca"),
        (
            {"critic": Scores(), "feature_matching": 1.0},
            {"x": np.zeros((24, 2))},
            "that returns features",
        ),
        ({"critic": Normalised(), "penalty": "r1"}, {"x": np.zeros((24, 2))}, "normalises over"),
        (
            LABELLED | {"conditional": "ac", "critic": Classifier()},
            {"x": np.zeros((24, 2)), "y": np.zeros(24, int)},
            "logits has shape",
        ),
        ({"conditional": "info", "code": (3, 0)}, {"x": np.zeros((24, 2))}, "code has shape None"),
        (
            LABELLED | {"conditional": "concat", "critic": MLPCritic((8,), "concat")},
            {"x": np.zeros((24, 2))},
            "no labels",
        ),
    ],
)  # fmt: skip
def test_bad_data(options, batch, word):
    model = make(**options)

    def first_step(batch):
        return model.step(jax.random.key(0), model.init(jax.random.key(0), batch), batch)

    with pytest.raises(ConfigError, match=word):
        jax.eval_shape(first_step, jax.tree.map(jnp.asarray, batch))


def test_a_wgan_that_nothing_keeps_lipschitz_warns():
    with pytest.warns(UserWarning, match="not bounded by anything"):
        make(loss="wgan")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(loss="wgan", penalty="wgan_gp")
        make(loss="wgan", clip=0.01)
        make(loss="wgan", critic=MLPCritic(spectral=True))
