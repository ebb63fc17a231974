"""Points to decode for pictures."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gen_jax import plotting, vae
from gen_jax.errors import ConfigError


def test_the_manifold_has_equal_prior_mass_per_cell():
    z = np.asarray(vae.manifold(4)).reshape(4, 4, 2)
    u = stats.norm.cdf(z)
    np.testing.assert_allclose(u[0, :, 0], [0.125, 0.375, 0.625, 0.875], rtol=1e-5)
    np.testing.assert_allclose(u[:, 0, 1], [0.875, 0.625, 0.375, 0.125], rtol=1e-5)
    np.testing.assert_allclose(z[0, :, 0], z[3, :, 0], rtol=1e-6)


def test_traversals_move_one_dimension():
    z = jnp.array([0.1, 0.2, 0.3])
    moved = np.asarray(vae.traversal(z, 5, 2.0))
    for dim in range(3):
        np.testing.assert_allclose(moved[dim, :, dim], np.linspace(-2, 2, 5), atol=1e-6)
        others = np.delete(moved[dim], dim, 1)
        np.testing.assert_allclose(others, np.delete(np.tile(z, (5, 1)), dim, 1), rtol=1e-6)


@pytest.mark.parametrize("spherical", [False, True])
def test_interpolations_start_and_end_where_they_should(spherical):
    a, b = jnp.array([[2.0, 0.0], [0.5, 0.5]]), jnp.array([[0.0, 1.0], [-1.0, 0.3]])
    lines = np.asarray(vae.interpolate(a, b, 5, spherical))
    np.testing.assert_allclose(lines[:, 0], a, atol=1e-5)
    np.testing.assert_allclose(lines[:, -1], b, atol=1e-5)
    middle = [np.sqrt(2), np.sqrt(0.5)] if spherical else [1.0, 0.5]
    np.testing.assert_allclose(lines[0, 2], middle, rtol=1e-5)


def test_labelled_points_need_a_label_each():
    z = np.random.default_rng(0).normal(size=(30, 2))
    figure = plotting.labelled_points(z, np.arange(30) % 3)
    assert len(figure.axes[0].collections) == 3
    with pytest.raises(ConfigError, match="labels has 2"):
        plotting.labelled_points(z, np.arange(2))
