"""The exact posterior of a mixture against sums over a grid; calibration of exact draws."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.errors import ConfigError, DataError
from gen_jax.inverse import coverage, mixture_posterior, ranks

MIXTURE = exact.mixture_2d()


@pytest.mark.parametrize("matrix", [[[1.0, 0.0]], [[1.0, -0.5], [0.3, 2.0]], [[1.0, 1.0]] * 3])
def test_posterior_against_a_grid(matrix, x64):
    matrix, noise_std = jnp.array(matrix), 0.4
    weights, means, covariances = (jnp.asarray(a, jnp.float64) for a in MIXTURE)
    y = jnp.linspace(0.2, 0.6, matrix.shape[0])
    posterior = mixture_posterior(weights, means, covariances, matrix, y, noise_std)
    line = jnp.linspace(-5, 5, 401)
    grid = jnp.stack(jnp.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    prior = jax.vmap(lambda x: exact.mixture_log_density(MIXTURE, 1.0, 0.0, x))(grid)
    residual = y - grid @ matrix.T
    log_likelihood = jax.scipy.stats.norm.logpdf(residual, scale=noise_std).sum(-1)
    joint = jnp.exp(prior + log_likelihood)
    cell = float(line[1] - line[0]) ** 2
    evidence = joint.sum() * cell
    mean = (joint @ grid) * cell / evidence
    second = jnp.einsum("n,ni,nj->ij", joint, grid, grid) * cell / evidence
    np.testing.assert_allclose(posterior.log_evidence, jnp.log(evidence), atol=1e-6)
    np.testing.assert_allclose(posterior.weights @ posterior.means, mean, atol=1e-6)
    outer = posterior.covariances + jnp.einsum("ki,kj->kij", posterior.means, posterior.means)
    np.testing.assert_allclose(jnp.tensordot(posterior.weights, outer, 1), second, atol=1e-5)


def test_without_noise_the_measurement_is_met():
    matrix, y = jnp.array([[1.0, 2.0]]), jnp.array([0.3])
    posterior = mixture_posterior(*MIXTURE, matrix, y, 0.0)
    np.testing.assert_allclose(posterior.means @ matrix[0], 0.3, atol=1e-5)
    np.testing.assert_allclose(posterior.covariances @ matrix[0], 0, atol=1e-6)


def test_refusals():
    twice = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    with pytest.raises(ConfigError, match="depend on each other"):
        mixture_posterior(*MIXTURE, twice, jnp.zeros(2), 0.0)
    # Rounding makes the last pivot a little larger than 0.
    of_a_plane = jnp.array([[1.0, 0.3], [0.7, 0.1], [0.2, 0.9]])
    for noise_std in (0.0, jnp.array(0.0), 1e-6):
        with pytest.raises(ConfigError, match="depend on each other"):
            mixture_posterior(*MIXTURE, of_a_plane, jnp.array([1.0, 1.0, 0.2]), noise_std)
    with pytest.raises(ConfigError, match="must be"):
        mixture_posterior(*MIXTURE, twice, jnp.zeros(3), 0.1)
    for weights in ([1.0, 1.0], [-0.5, 1.5], [jnp.nan, 1.0]):
        mixture = (jnp.array(weights), *(a[:2] for a in MIXTURE[1:]))
        with pytest.raises(ConfigError, match="weights sum to"):
            mixture_posterior(*mixture, twice, jnp.zeros(2), 0.1)
    with pytest.raises(ConfigError, match="noise_std=-1"):
        mixture_posterior(*MIXTURE, twice, jnp.zeros(2), -1)


def test_ranks_and_coverage():
    """Of exact draws ranks are uniform; 60 draws cover a 90 % interval with probability 0.870."""
    rng = np.random.default_rng(1)
    centre = rng.normal(size=(20_000, 1))
    truth = jnp.asarray(centre + rng.normal(size=(20_000, 1)))
    samples = jnp.asarray(centre[:, None] + rng.normal(size=(20_000, 60, 1)))
    # Standard error 0.0024; five of them.
    assert abs(float(coverage(samples, truth, 0.9)) - 0.9 * 59 / 61) < 0.012
    counts = np.bincount(np.asarray(ranks(samples, truth)).ravel(), minlength=61)
    chi_square = np.sum((counts - 20_000 / 61) ** 2) / (20_000 / 61)
    assert chi_square < 60 + 5 * np.sqrt(120)
    narrow = centre[:, None] + 0.8 * (samples - centre[:, None])
    assert float(coverage(narrow, truth, 0.9)) < 0.82
    with pytest.raises(ConfigError, match="samples"):
        ranks(samples, truth[1:])
    with pytest.raises(ConfigError, match="level"):
        coverage(samples, truth, 0.0)
    for wrong in ((samples * np.nan, truth), (samples, truth.at[0].set(jnp.nan))):
        for measure in (ranks, lambda *a: coverage(*a, 0.9)):
            with pytest.raises(DataError, match="not finite"):
                measure(*wrong)
