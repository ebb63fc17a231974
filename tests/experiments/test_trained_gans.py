"""What is said of a trained GAN: signs of overfitting, sums of latents, codes, truncations."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from experiments.gan import Config, build
from experiments.shared import gan_diagnostics
from experiments.shared.gan_pictures import ROWS, codes, truncations
from experiments.shared.registry import Saved
from gen_jax import gan
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError
from gen_jax.gan_nets import CriticOutput

SPEC = DatasetSpec("digits", "images", (8, 8, 1), "uint8", 2, -0.4, 0.7, 100, 100)


class Plain(nn.Module):
    """Images of one grey, tanh(z_0)."""

    @nn.compact
    def __call__(self, z, condition=None, *, train=False):
        grey = jnp.tanh(z[:, :1]) + 0 * self.param("none", nn.initializers.zeros, ())
        return jnp.broadcast_to(grey[:, :, None, None], (len(z), 8, 8, 1))


class Grey(nn.Module):
    """A critic that says the mean grey."""

    @nn.compact
    def __call__(self, x, condition=None, *, train=False):
        score = x.mean((1, 2, 3)) + 0 * self.param("none", nn.initializers.zeros, ())
        return CriticOutput(score, x.reshape(len(x), -1))


class VAEFunctions(nn.Module):
    """A critic whose three categories are dark, grey and bright images: 2, 0 and 1 of the code."""

    @nn.compact
    def __call__(self, x, condition=None, *, train=False):
        grey = x.mean((1, 2, 3)) + 0 * self.param("none", nn.initializers.zeros, ())
        code = -jnp.abs(grey[:, None] - jnp.array([0.0, 1.0, -1.0]))
        return CriticOutput(grey, x.reshape(len(x), -1), code=code)


class Said(nn.Module):
    """Images of one row: z and what stands beside it, as greys."""

    @nn.compact
    def __call__(self, z, condition=None, *, train=False):
        said = z + 0 * self.param("none", nn.initializers.zeros, ())
        return said[:, None, :, None]


class Reader:
    """Reads dark images as 0, bright ones as 1."""

    def predict(self, x):
        return (x.mean((1, 2, 3)) > 127.5).astype(int)


def greys(value, n=12):
    return {"x": np.full((n, 8, 8, 1), value, np.uint8)}


def started(**options):
    """(model, state) of these networks."""
    parts = build(Config(latent=4, **options), SPEC).parts
    return begun(parts._replace(generator=Plain(), critic=Grey()))


def begun(parts):
    """The model of these parts, and its first state."""
    model, shape = gan.model_from_parts(parts), parts.options.shape
    return model, model.init(jax.random.key(0), {"x": jnp.zeros((2, *shape), jnp.uint8)})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, {"critic_overfitting": 0.25, "critic_sure_of_training": 1.0}),
        ({"loss": "wgan"}, {"critic_overfitting": 0.25}),
    ],
)
def test_a_critic_that_knows_its_training_set(monkeypatch, options, said):
    """Training images say 1, held-out ones 1/2, samples -1: a quarter of the way to the samples."""
    model, state = started(**options)
    model = model._replace(sample=lambda key, state, n, **_: jnp.asarray(greys(0, n)["x"]))
    saved = Saved("gan", None, None, SPEC, model, state, 0)
    monkeypatch.setattr(gan_diagnostics.data, "load", lambda name, split: greys(255))
    found = gan_diagnostics.critic_signs(saved, greys(191))
    assert found == pytest.approx(said, abs=0.01)


def test_latents_are_given_what_the_next_class_has(monkeypatch):
    """A class is the sign of z_0, whose means are +-0.8: 1.6 more turns nine in ten."""
    monkeypatch.setattr(gan_diagnostics.metrics, "load_classifier", lambda name: Reader())
    found = gan_diagnostics.analogies(*started(), SPEC)
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

    monkeypatch.setattr(gan_diagnostics.metrics, "load_classifier", refuse)
    assert gan_diagnostics.analogies(*started(), SPEC) is None


def test_truncations_stand_in_columns(tmp_path):
    """By a model whose images are as bright as the truncation is large."""
    model, state = started()
    bright = lambda key, state, n, truncation: jnp.full((n, 8, 8, 1), 60 * truncation).astype(
        jnp.uint8
    )
    model = model._replace(sample=bright, conditions={})
    path = truncations(tmp_path / "a.png", model, SPEC, state, (0.5, 2.0, 4.0))
    pixels = np.asarray(Image.open(path).convert("L"))
    assert [value in pixels for value in (30, 120, 240)] == [True] * 3
    first, last = (np.argwhere(pixels == value)[:, 1] for value in (30, 240))
    assert first.max() < last.min()


def test_categories_are_named_by_training_images_and_scored_on_test_images(monkeypatch):
    """Dark is class 1 and bright class 0 in training; of four test images one is of the other
    class and one is read as the third category, which names no class."""
    parts = build(Config(latent=4, conditional="info", code=(3, 0)), SPEC).parts
    model, state = begun(parts._replace(generator=Plain(), critic=VAEFunctions()))
    saved = Saved("gan", None, None, SPEC, model, state, 0)
    rows = lambda greys, labels: {
        "x": np.concatenate([np.full((1, 8, 8, 1), grey, np.uint8) for grey in greys]),
        "y": np.array(labels),
    }
    train = rows([0, 0, 0, 255, 255, 0], [1, 1, 1, 0, 0, 0])
    monkeypatch.setattr(gan_diagnostics.data, "load", lambda name, split: train)
    test = rows([0, 255, 255, 127], [1, 0, 1, 1])
    found = gan_diagnostics.code_accuracy(saved, test)
    assert found["code_accuracy"].value == 0.5
    assert found["code_accuracy_of_one_class"] == 0.25
    model, state = started()
    plain = saved._replace(model=model, state=state)
    assert gan_diagnostics.code_accuracy(plain, test) == {}


@pytest.mark.parametrize(("code", "blocks", "columns"), [((3, 2), 3, 3), ((0, 1), 1, 10)])
def test_one_part_of_the_code_changes_along_a_row(code, blocks, columns):
    spec = replace(SPEC, shape=(1, 2 + sum(code), 1))
    parts = build(Config(latent=2, conditional="info", code=code), spec).parts
    _, state = begun(parts._replace(generator=Said()))
    plain = parts._replace(generator=Said(), options=parts.options._replace(transform=None))
    said = np.asarray(codes(gan.model_from_parts(plain), state))[:, :, 0, :, 0]
    said = said.reshape(blocks, ROWS, columns, -1)
    changes = np.ptp(said, axis=2).max(1) > 0
    assert not changes[:, :2].any()
    expected = []
    if code[0]:
        expected.append([True] * code[0] + [False] * code[1])
    expected += [[False] * code[0] + [i == j for j in range(code[1])] for i in range(code[1])]
    np.testing.assert_array_equal(changes[:, 2:], expected)
    np.testing.assert_allclose(said[-1, 0, :, -1], np.linspace(-2, 2, columns), atol=1e-6)
