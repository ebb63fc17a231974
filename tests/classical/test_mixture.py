"""Density and samples of a mixture: scipy, Gaussian scores, and a component-wise count."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gen_jax.classical import mixture as gm

FALSE_ALARM = 5e-7


def test_log_prob_against_scipy(x64, points, known):
    mixture = known()
    x = points[:50]
    parts = [w * scipy.stats.multivariate_normal(m, c).pdf(x) for w, m, c in zip(*mixture)]
    np.testing.assert_allclose(gm.log_prob(mixture, jnp.asarray(x)), np.log(sum(parts)), rtol=1e-12)
    shares = np.stack(parts, 1) / sum(parts)[:, None]
    np.testing.assert_allclose(gm.responsibilities(mixture, jnp.asarray(x)), shares, atol=1e-12)


def test_diagonal_is_full_with_zeros(x64, points, known):
    mixture = known()
    variances = jnp.diagonal(mixture.covariances, axis1=1, axis2=2)
    diagonal = mixture._replace(covariances=variances)
    full = mixture._replace(covariances=jax.vmap(jnp.diag)(variances))
    x = jnp.asarray(points[:50])
    np.testing.assert_allclose(gm.log_prob(diagonal, x), gm.log_prob(full, x), rtol=1e-12)
    key = jax.random.key(0)
    np.testing.assert_allclose(gm.sample(key, diagonal, 5), gm.sample(key, full, 5), rtol=1e-12)


def test_far_from_the_origin_in_float32(known):
    """Components 1e-3 wide at a distance of 3: an expanded square would lose every digit."""
    mixture = known(np.float32)
    narrow = mixture._replace(covariances=1e-6 * mixture.covariances)
    x = jnp.asarray(np.asarray(mixture.means) + np.float32(1e-3))
    wide = [np.asarray(a, np.float64) for a in narrow]
    shifted = [scipy.stats.multivariate_normal(m, c) for m, c in zip(wide[1], wide[2])]
    expected = [np.log(w) + s.logpdf(p) for w, s, p in zip(wide[0], shifted, np.asarray(x))]
    np.testing.assert_allclose(gm.log_prob(narrow, x), expected, rtol=1e-3)


def test_responsibilities_far_from_the_origin_in_float32(points, known):
    """Overlapping components, against float64 at the same points; not centred they miss by 2e-3."""
    far, mixture = jnp.float32(10_000), known(np.float32)
    mixture = mixture._replace(means=0.2 * mixture.means + far)
    x = jnp.asarray(0.5 * points[:200], jnp.float32) + far
    parts = [
        w * scipy.stats.multivariate_normal(m, c).pdf(np.asarray(x, np.float64))
        for w, m, c in zip(*(np.asarray(a, np.float64) for a in mixture))
    ]
    shares = np.stack(parts, 1) / sum(parts)[:, None]
    assert np.sum((shares > 0.1) & (shares < 0.9)) > 100
    np.testing.assert_allclose(gm.responsibilities(mixture, x), shares, atol=1e-5)


def scores(mixture, x):
    """Standard normal [N, D] where x has the law of the mixture's well separated components."""
    _, means, covariances = (np.asarray(a) for a in mixture)
    if covariances.ndim == 2:
        covariances = np.stack([np.diag(c) for c in covariances])
    nearest = np.asarray(gm.responsibilities(mixture, x)).argmax(1)
    lower = np.linalg.cholesky(covariances)
    return np.stack(
        [np.linalg.solve(lower[k], p - means[k]) for k, p in zip(nearest, np.asarray(x))]
    )


@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_samples_by_gaussian_scores(key, known, kind):
    """60,000 scores at 5e-7 find a variance off by 5 % (planted below) with probability 0.999."""
    mixture = known(np.float32)
    mixture = mixture._replace(means=10 * mixture.means)
    if kind == "diagonal":
        variances = jnp.diagonal(mixture.covariances, axis1=1, axis2=2)
        mixture = mixture._replace(covariances=variances)
    x = gm.sample(key, mixture, 20_000)
    z = scores(mixture, x)
    assert exact.standard_normal_p_value(z) > FALSE_ALARM
    assert exact.standard_normal_p_value(z * np.sqrt(1.05)) < FALSE_ALARM
    products = np.sum(z[:, 0] * z[:, 1]) / np.sqrt(len(z))
    assert abs(products) < scipy.stats.norm.isf(FALSE_ALARM / 2)
    counts = np.bincount(np.asarray(gm.responsibilities(mixture, x)).argmax(1), minlength=3)
    assert scipy.stats.chisquare(counts, 20_000 * np.asarray(mixture.weights)).pvalue > FALSE_ALARM
    np.testing.assert_array_equal(gm.sample(key, mixture, 3), x[:3])


def test_density_integrates_to_one(x64):
    mixture = exact.mixture_2d()
    line = jnp.linspace(-6, 6, 601)
    grid = jnp.stack(jnp.meshgrid(line, line), -1).reshape(-1, 2)
    total = jnp.exp(gm.log_prob(gm.Mixture(*mixture), grid)).sum() * (line[1] - line[0]) ** 2
    assert float(total) == pytest.approx(1, abs=1e-9)
