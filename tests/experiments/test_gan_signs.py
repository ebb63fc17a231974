"""What is said of a trained GAN: signs of overfitting, sums of latents, pictures of truncations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from experiments import gan_signs
from experiments.gan import Config, parts_of
from experiments.gan_pictures import truncations
from experiments.runner import Saved
from gen_jax import gan
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError
from gen_jax.nets import Judgement

SPEC = DatasetSpec("digits", "images", (8, 8, 1), "uint8", 2, -0.4, 0.7, 100, 100)


class Plain(nn.Module):
    """Images of one grey, tanh(z_0)."""

    @nn.compact
    def __call__(self, z, label=None, *, train=False):
        grey = jnp.tanh(z[:, :1]) + 0 * self.param("none", nn.initializers.zeros, ())
        return jnp.broadcast_to(grey[:, :, None, None], (len(z), 8, 8, 1))


class Grey(nn.Module):
    """A critic that says the mean grey."""

    @nn.compact
    def __call__(self, x, label=None, *, train=False):
        score = x.mean((1, 2, 3)) + 0 * self.param("none", nn.initializers.zeros, ())
        return Judgement(score, x.reshape(len(x), -1))


class Reader:
    """Reads dark images as 0, bright ones as 1."""

    def predict(self, x):
        return (x.mean((1, 2, 3)) > 127.5).astype(int)


def greys(value, n=12):
    return {"x": np.full((n, 8, 8, 1), value, np.uint8)}


def started(**options):
    """(parts, state) of these networks."""
    parts = parts_of(Config(latent=4, **options), SPEC)._replace(generator=Plain(), critic=Grey())
    return parts, gan.of_parts(parts).init(
        jax.random.key(0), {"x": jnp.zeros((2, 8, 8, 1), jnp.uint8)}
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, {"critic_overfitting": 0.25, "critic_sure_of_training": 1.0}),
        ({"loss": "wgan"}, {"critic_overfitting": 0.25}),
    ],
)
def test_a_critic_that_knows_its_training_set(monkeypatch, options, said):
    """Training images say 1, held-out ones 1/2, samples -1: a quarter of the way to the samples."""
    parts, state = started(**options)
    model = gan.of_parts(parts)._replace(sample=lambda key, state, n: jnp.asarray(greys(0, n)["x"]))
    saved = Saved("gan", None, None, SPEC, model, state, 0)
    monkeypatch.setattr(gan_signs.data, "load", lambda name, split: greys(255))
    found = gan_signs.critic_signs(parts, saved, greys(191))
    assert found == pytest.approx(said, abs=0.01)


def test_latents_are_given_what_the_next_class_has(monkeypatch):
    """A class is the sign of z_0, whose means are +-0.8: 1.6 more turns nine in ten."""
    monkeypatch.setattr(gan_signs.metrics, "load_classifier", lambda name: Reader())
    found = gan_signs.analogies(*started(), SPEC)
    assert found.rows.shape == (4, 10, 8, 8, 1)
    assert (Reader().predict(found.rows[0]), Reader().predict(found.rows[2])) == (
        pytest.approx(np.zeros(10)),
        pytest.approx(np.ones(10)),
    )
    assert found.accuracy > 0.6
    made = [Reader().predict(row) for row in found.rows[1::2]]
    np.testing.assert_allclose(found.accuracy, np.mean([made[0] == 1, made[1] == 0]))


def test_no_sums_of_latents_without_a_classifier(monkeypatch):
    def refuse(name):
        raise ConfigError(name)

    monkeypatch.setattr(gan_signs.metrics, "load_classifier", refuse)
    assert gan_signs.analogies(*started(), SPEC) is None


def test_truncations_stand_in_columns(tmp_path):
    """By a model whose images are as bright as the truncation is large."""
    parts, state = started()
    bright = lambda key, state, n, truncation: jnp.full((n, 8, 8, 1), 60 * truncation).astype(
        jnp.uint8
    )
    model = gan.of_parts(parts)._replace(sample=bright)
    path = truncations(tmp_path / "a.png", model, SPEC, state, (0.5, 2.0, 4.0))
    pixels = np.asarray(Image.open(path).convert("L"))
    assert [value in pixels for value in (30, 120, 240)] == [True] * 3
    first, last = (np.argwhere(pixels == value)[:, 1] for value in (30, 240))
    assert first.max() < last.min()
