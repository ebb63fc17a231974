"""Steps with convolutions: on a CPU they are called one by one, and give the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import diffusion, nets, training
from gen_jax.training.loop import _loops_badly
from gen_jax.training.sharding import make_mesh


def unet():
    network = nets.UNet(widths=(8,), blocks=1)
    return diffusion.diffusion(network, "linear", optax.adam(1e-3), shape=(4, 4, 1))


def images():
    values = np.random.default_rng(0).normal(size=(12, 4, 4, 1))
    return {"x": values.astype(np.float32)}


@pytest.mark.parametrize("per_call", [1, 5])
def test_calls_do_not_change_the_numbers(per_call):
    """Five steps in calls of one or of five; the same to the bit, and something was learned."""
    key, model = jax.random.key(0), unet()
    plan = {"steps": 5, "batch_size": 4, "progress": False}
    state = training.fit(key, model, images(), **plan, steps_per_call=per_call)
    twice = training.fit(key, model, images(), **plan)
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(twice), strict=True):
        np.testing.assert_array_equal(jax.device_get(one), jax.device_get(other))
    first = training.fit(key, model, images(), **{**plan, "steps": 1})
    moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), state.params, first.params)
    assert max(jax.tree.leaves(moved)) > 0


def test_only_convolutions_are_called_one_by_one():
    image, kernel = jnp.ones((1, 1, 4, 4)), jnp.ones((1, 1, 3, 3))
    convolve = lambda x: jax.lax.conv(x, kernel, (1, 1), "SAME").sum()
    convolution = jax.make_jaxpr(jax.jit(jax.grad(convolve)))(image)
    product = jax.make_jaxpr(jax.grad(lambda x: (x @ x).sum()))(jnp.ones((3, 3)))
    assert _loops_badly(convolution, make_mesh(1))
    assert not _loops_badly(product, make_mesh(1))
