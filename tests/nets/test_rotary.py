"""Rotary attention: angles by complex numbers, dependence on differences of places alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.nets.blocks import rotary, rotated
from gen_jax.nets.token_transformer import TokenTransformer


def test_each_pair_is_a_complex_number_that_is_rotated():
    x = jax.random.normal(jax.random.key(0), (2, 5, 3, 8))
    pairs = np.asarray(x[..., :4]) + 1j * np.asarray(x[..., 4:])
    angles = np.outer(np.arange(5), 100.0 ** (-np.arange(4) / 4))
    wanted = pairs * np.exp(1j * angles)[:, None]
    got = rotated(x)
    np.testing.assert_allclose(got[..., :4], wanted.real, atol=2e-6)
    np.testing.assert_allclose(got[..., 4:], wanted.imag, atol=2e-6)


@pytest.mark.parametrize("features", [1, 2, 7, 8])
def test_products_depend_on_the_difference_of_places_alone(features):
    query, key = (jax.random.normal(jax.random.key(i), (features,)) for i in range(2))
    everywhere = lambda x: rotated(jnp.broadcast_to(x, (1, 9, 1, features)))[0, :, 0]
    products = np.asarray(everywhere(query) @ everywhere(key).T)
    for gap in range(-8, 9):
        along = np.diagonal(products, gap)
        np.testing.assert_allclose(along, along[0], atol=1e-5)
    np.testing.assert_allclose(products[0, 0], query @ key, rtol=1e-5)
    assert features == 1 or np.ptp(products) > 0.1


def test_one_token_attends_to_itself_and_half_precision_stays():
    q, k, v = (jax.random.normal(jax.random.key(i), (2, 1, 2, 4)) for i in range(3))
    np.testing.assert_array_equal(rotary(q, k, v), v)
    half = [x.astype(jnp.bfloat16) for x in (q, k, v)]
    assert rotary(*half).dtype == jnp.bfloat16


def test_a_token_transformer_sees_distances_without_learned_places():
    """Two orders of the same tokens have other logits; with attention by values alone they would
    be the same, permuted."""
    network = TokenTransformer(4, 5, 16, 1, 2)
    x, time = jnp.array([[0, 1, 2, 3, 3]]), jnp.ones(1)
    params = network.init(jax.random.key(0), x, time)["params"]
    noise = lambda leaf: leaf + 0.5 * jax.random.normal(jax.random.key(1), leaf.shape)
    params = jax.tree.map(noise, params) | {"place": jnp.zeros((5, 16))}
    logits = lambda x: np.asarray(network.apply({"params": params}, x, time)[0])
    assert np.abs(logits(x[:, ::-1])[::-1] - logits(x)).max() > 1e-3
