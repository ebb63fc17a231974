"""What the tests of classical models share."""

import jax.numpy as jnp
import numpy as np
import pytest


def known_mixture(dtype=np.float64):
    """Weights, means and covariances of three correlated components in three dimensions."""
    roots = np.array(
        [
            [[0.6, 0, 0], [0.3, 0.4, 0], [-0.2, 0.1, 0.5]],
            [[0.3, 0, 0], [-0.2, 0.5, 0], [0.1, 0.3, 0.2]],
            [[0.4, 0, 0], [0.0, 0.2, 0], [0.2, -0.1, 0.7]],
        ]
    )
    means = np.array([[0.0, 0, 0], [3, -1, 1], [-2, 2, 2]])
    covariances = roots @ roots.swapaxes(1, 2)
    return tuple(a.astype(dtype) for a in (np.array([0.5, 0.3, 0.2]), means, covariances))


@pytest.fixture
def points():
    """2,000 draws [N, 3] of `known_mixture`, float64."""
    random = np.random.default_rng(5)
    weights, means, covariances = known_mixture()
    k = random.choice(3, 2000, p=weights)
    noise = np.einsum(
        "nij,nj->ni", np.linalg.cholesky(covariances)[k], random.normal(size=(2000, 3))
    )
    return means[k] + noise


@pytest.fixture
def known():
    """`known_mixture` as a package's mixture of jax arrays."""
    from gen_jax.classical.mixture import Mixture

    return lambda dtype=np.float64: Mixture(*map(jnp.asarray, known_mixture(dtype)))
