"""Architectures of `experiments.gan`: each with every condition, traced without computing."""

import jax
import jax.numpy as jnp
import pytest

from experiments import gan
from experiments.shared.gan_parts import ARCHITECTURES
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError
from gen_jax.gan import CONDITIONALS

SPEC = DatasetSpec("digits", "images", (8, 8, 1), "uint8", 10, -0.4, 0.7, 100, 100)
BATCH = {
    "x": jax.ShapeDtypeStruct((4, *SPEC.shape), jnp.uint8),
    "y": jax.ShapeDtypeStruct((4,), jnp.int32),
}


def traced(**options):
    """Shapes of a step's metrics and of three samples."""
    model = gan.build(gan.Config(widths=(8, 4), **options), SPEC)
    key = jax.random.key(0)
    state = jax.eval_shape(model.init, key, BATCH)
    after, metrics = jax.eval_shape(model.step, key, state, BATCH)
    assert jax.tree.map(lambda a: a.shape, after) == jax.tree.map(lambda a: a.shape, state)
    return metrics, jax.eval_shape(lambda key, state: model.sample(key, state, 3), key, state)


@pytest.mark.parametrize(
    ("architecture", "conditional"),
    [*(("dcgan", kind) for kind in CONDITIONALS), ("sagan", "ac"), ("biggan", "projection")],
)
def test_every_condition_of_the_architectures_of_images(architecture, conditional):
    metrics, samples = traced(architecture=architecture, conditional=conditional)
    assert samples.shape == (3, *SPEC.shape)
    assert {"critic_loss", "generator_loss"} <= metrics.keys()
    assert all(value.shape == () for value in metrics.values())


def test_an_autoencoder_is_for_began():
    metrics, samples = traced(architecture="autoencoder", loss="began", penalty="none")
    assert "balance" in metrics
    assert samples.shape == (3, *SPEC.shape)
    for options in ({"loss": "began"}, {"architecture": "autoencoder"}):
        with pytest.raises(ConfigError, match="go together"):
            gan.Config(**options).check()
    with pytest.raises(ConfigError, match="autoencoder"):
        traced(architecture="autoencoder", loss="began", penalty="none", conditional="projection")


def test_all_of_them_were_tried():
    assert set(ARCHITECTURES) == {"mlp", "lipschitz", "dcgan", "sagan", "biggan", "autoencoder"}
