"""Arcs between vectors: against matrix exponentials, at their ends, and in gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from gen_jax import vae
from gen_jax.gan.diagnostics import spherical
from gen_jax.sampling import slerp

HALF = [np.sqrt(2), np.sqrt(0.5)]


def test_vectors_of_one_length_are_turned_into_each_other():
    """exp(t w J) turns the plane of both by the share t of their angle w."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(5, 2)))[0]
    quarter = np.array([[0, -1], [1, 0]])
    turned = lambda angle: jnp.asarray(basis @ expm(angle * quarter) @ [3.0, 0.0], jnp.float32)
    for angle in (1e-3, 0.4, 3.1):
        for t in (0.0, 0.3, 1.0):
            found = slerp(turned(0), turned(angle), t)
            np.testing.assert_allclose(found, turned(t * angle), atol=3e-5)


def test_every_path_between_two_latents_is_the_same():
    a, b = jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 1.0]])
    np.testing.assert_allclose(slerp(a, b, 0.5)[0], HALF, rtol=1e-6)
    np.testing.assert_allclose(spherical(a, b, jnp.array([0.5]))[0, 0], HALF, rtol=1e-6)
    np.testing.assert_allclose(vae.interpolate(a, b, 3, True)[0, 1], HALF, rtol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "size"), [(np.float32, 1e-25), (np.float32, 1e25), (np.float16, 300)]
)
def test_squares_that_the_dtype_does_not_hold(dtype, size):
    a, b = np.array([2 * size, 0], dtype), np.array([0, size], dtype)
    np.testing.assert_allclose(np.asarray(slerp(a, b, 0.5), float) / size, HALF, rtol=1e-3)


def test_without_an_arc_the_line_joins_them_with_finite_slopes():
    one = jnp.array([1.0, 2.0, -2.0])
    for end in (one, 3 * one, -2 * one, 0 * one):
        found = slerp(one, end, 0.25)
        np.testing.assert_allclose(found, 0.75 * one + 0.25 * end, atol=1e-6)
        np.testing.assert_allclose(slerp(end, one, 0.75), found, atol=1e-6)
        slope = jax.jacobian(slerp, (0, 1, 2))(one, end, 0.25)
        assert all(np.isfinite(part).all() for part in slope)
