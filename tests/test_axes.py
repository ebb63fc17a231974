"""Axes that broadcast."""

import jax.numpy as jnp

from gen_jax.axes import expand


def test_expand_appends_axes():
    x = jnp.zeros((4, 3, 2))
    assert expand(jnp.ones(4), x).shape == (4, 1, 1)
    assert expand(jnp.ones(()), x).shape == (1, 1, 1)
