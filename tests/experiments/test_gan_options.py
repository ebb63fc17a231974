"""Remedies and the watch of `experiments.gan`; options that cannot work are refused."""

import jax
import jax.numpy as jnp
import pytest

from experiments import gan
from experiments.shared.gan_remedies import REMEDIES
from gen_jax import data
from gen_jax.errors import ConfigError


def rate(optimizer):
    """Length of the first step of Adam along a number."""
    one = jnp.ones(())
    return -float(optimizer.update(one, optimizer.init(one), one)[0])


@pytest.mark.parametrize("remedy", [name for name in REMEDIES if name != "augmentation"])
def test_every_remedy_makes_a_model_of_points(remedy):
    config = gan.Config(dataset="8gaussians", remedy=(remedy,), batch_size=8)
    model = gan.build(config)
    parts = model.parts
    assert parts.options.loss == "non_saturating"
    plain = gan.build(gan.Config(dataset="8gaussians")).parts
    changed = parts.options != plain.options._replace(transform=parts.options.transform)
    faster = rate(parts.critic_optimizer) / rate(plain.critic_optimizer)
    assert faster == pytest.approx(4.0 if remedy == "ttur" else 1.0)
    assert rate(parts.generator_optimizer) == rate(plain.generator_optimizer)
    assert changed or parts.critic != plain.critic or remedy == "ttur"
    rows = lambda n: {"x": jnp.zeros((n, 2))}
    state = jax.eval_shape(model.init, jax.random.key(0), rows(2))  # so a saved run is rebuilt
    after, _ = jax.eval_shape(model.step, jax.random.key(0), state, rows(8))
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)


@pytest.mark.parametrize("architecture", ["mlp", "dcgan", "sagan", "biggan"])
def test_critics_of_images_take_dropout_and_features_of_the_batch(architecture):
    remedy = ("dropout", "minibatch_deviation")
    config = gan.Config(architecture=architecture, widths=(8, 4), remedy=remedy)
    critic = gan.build(config).parts.critic
    assert (critic.dropout, critic.minibatch) == (0.3, "deviation")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"remedy": ("spectrum",)}, "did you mean 'spectral'"),
        ({"loss": "wgangp"}, "loss='wgangp'"),
        ({"patience": 3}, "needs --watch"),
        ({"penalty": "wgan_gp", "remedy": ("clipping",)}, "choose one"),
        ({"remedy": ("unrolled", "consensus")}, "choose one"),
        ({"dataset": "8gaussians", "architecture": "dcgan"}, "needs images"),
        ({"dataset": "8gaussians", "conditional": "concat"}, "has no labels"),
        ({"dataset": "8gaussians", "remedy": ("augmentation",)}, "for images"),
        ({"architecture": "lipschitz", "remedy": ("dropout",)}, "no critic with 'dropout'"),
        (
            {"loss": "began", "architecture": "autoencoder", "penalty": "wgan_gp"},
            "takes no penalty .penalty='wgan_gp'",
        ),
        ({"penalty": "none", "penalty_weight": 10.0}, "penalty_weight=10.0 was given without"),
        ({"penalty": "none", "remedy": ("lazy",)}, "lazy_interval=8 was given without"),
        ({"architecture": "lipschitz", "conditional": "projection"}, "'lipschitz' is not for"),
    ],
)
def test_refused(options, message):
    config = gan.Config(**options)
    with pytest.raises(ConfigError, match=message):
        gan.build(config, data.describe(config.dataset))


def test_a_watched_run_ends_and_keeps_its_best(command, tmp_path, monkeypatch):
    """At a rate that ruins it: the best is an early measurement, and that is what is drawn."""
    monkeypatch.chdir(tmp_path)
    words = ("--widths", 8, "--batch-size", 16, "--save-every", 1, "--directory", "run")
    watch = ("--watch", 60, "--patience", 1, "--learning-rate", 3.0, "--ema-decay", 0.0)
    ended = command("gan", *words, *watch, "--steps", 30)
    assert ended.code == 0, ended.err
    assert "ended: frechet_train" in ended.out
    best = int(ended.out.split("best")[-1].split("at step")[1].split(",")[0])
    assert best < 29
    assert (tmp_path / "run" / "samples" / f"step_{best:08d}.png").is_file()
