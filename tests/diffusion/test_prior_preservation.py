"""The mean over the instance plus a weight times the mean over the images drawn before."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import conditions, diffusion, nets, vae
from gen_jax.errors import ConfigError, DataError

NETWORK = nets.from_functions(
    lambda key, x, noise, condition: {"shift": jnp.zeros(())},
    lambda params, x, noise, condition: 0 * x + params["shift"],
)
X, PRIOR = jnp.array([[1.0], [3.0]]), jnp.array([[10.0], [20.0], [30.0], [40.0], [50.0]])
BATCH = {"x": X, "y": jnp.array([2, 2]), "prior_x": PRIOR, "prior_y": jnp.zeros(5, jnp.int32)}


def linear(predict, path, x0, eps, t, **options):
    """x0 times the shift: its mean over a batch and its slope are those of x0."""
    out = predict(x0, t)
    return (x0 * (1 + out)).sum(1), {}


def model():
    options = {"shape": (1,), "condition": conditions.labels(3), "loss": linear}
    return diffusion.diffusion(NETWORK, "cosine", optax.sgd(1.0), **options)


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_means_are_split(key, weight):
    preserved = diffusion.with_prior_preservation(model(), weight)
    state = preserved.init(key, {"x": X, "y": BATCH["y"]})
    batch = BATCH if weight else {"x": X, "y": BATCH["y"]}
    after, metrics = jax.jit(preserved.step)(key, state, batch)
    np.testing.assert_allclose(metrics["instance_loss"], 2.0)
    np.testing.assert_allclose(metrics["loss"], 2.0 + weight * 30.0)
    assert ("prior_loss" in metrics) == (weight > 0)
    if weight:
        np.testing.assert_allclose(metrics["prior_loss"], 30.0)
    np.testing.assert_allclose(after.params["params"]["shift"], -(2.0 + weight * 30.0), rtol=1e-6)


def test_what_does_not_fit_is_refused(key):
    preserved = diffusion.with_prior_preservation(model())
    state = preserved.init(key, {"x": X, "y": BATCH["y"]})
    with pytest.raises(ConfigError, match="batch has no 'prior_x'"):
        preserved.step(key, state, {"x": X, "y": BATCH["y"]})
    with pytest.raises(ConfigError, match="batch has no 'prior_y'"):
        preserved.step(key, state, {"x": X, "y": BATCH["y"], "prior_x": PRIOR[:2]})
    for wrong in ([1, 2, 3, 1, 2], [0, -1, 0, 0, 0]):  # 3 is the row of "no label"
        with pytest.raises(DataError, match=r"drawn images .* integers in \[0, 2\]"):
            preserved.init(key, BATCH | {"prior_y": jnp.array(wrong)})
    with pytest.raises(ConfigError, match="weight=-1"):
        diffusion.with_prior_preservation(model(), -1)
    other = vae.vae(vae.mlp((4,)), vae.mlp((4,)), optax.sgd(0.1), shape=(2,), latent=1)
    with pytest.raises(ConfigError, match="one of gen_jax.diffusion"):
        diffusion.with_prior_preservation(other)
