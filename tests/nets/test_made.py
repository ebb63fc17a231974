"""Masks by brute force: which outputs move when an input does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.errors import ConfigError
from gen_jax.nets import MADE

DIM = 6


def made(block, hidden=(16, 16)):
    network = MADE(DIM, 3, hidden, block)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, DIM)))
    fill = lambda p: jnp.cos(1.0 + jnp.arange(p.size, dtype=p.dtype)).reshape(p.shape)
    return network, jax.tree.map(fill, shapes)


@pytest.mark.parametrize("block", [1, 2, 3, 6])
def test_outputs_move_with_the_blocks_before_them_only(block):
    network, variables = made(block)
    x = jax.random.normal(jax.random.key(1), (1, DIM))
    each = jnp.concatenate([x, x + jnp.eye(DIM)])
    out = jax.jit(network.apply)(variables, each)
    moved = np.abs(out[1:] - out[:1]).max(-1) > 1e-6  # [input, output]
    blocks = np.arange(DIM) // block
    np.testing.assert_array_equal(moved, blocks[:, None] < blocks)


@pytest.mark.parametrize("block", [1, 3])
def test_one_block_is_a_part_of_the_whole(block):
    network, variables = made(block)
    x = jax.random.normal(jax.random.key(1), (4, DIM))
    whole = network.apply(variables, x)
    one = jax.jit(lambda index: network.apply(variables, x, index, method="one_block"))
    parts = [one(jnp.int32(index)) for index in range(DIM // block)]
    np.testing.assert_allclose(jnp.concatenate(parts, 1), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("options", "message"), [((4,), "block=4"), ((1, ()), "hidden")])
def test_bad_options(options, message):
    with pytest.raises(ConfigError, match=message):
        made(*options)
