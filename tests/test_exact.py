"""The closed forms check each other, by routes that share nothing."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats


def test_posterior_agrees_with_quadrature(x64):
    mixture, alpha, sigma = exact.mixture_1d(), 0.7, 0.6
    scales = np.sqrt(mixture.covariances[:, 0, 0])
    density = lambda grid: sum(
        w * stats.norm.pdf(grid, m, s)
        for w, m, s in zip(mixture.weights, mixture.means[:, 0], scales)
    )
    for x in (-2.0, 0.1, 1.3):
        x0, eps = exact.mixture_posterior(mixture, alpha, sigma, jnp.array([x]))
        truth = exact.posterior_mean_quadrature(density, alpha, sigma, x)
        np.testing.assert_allclose(x0[0], truth, rtol=1e-10)
        np.testing.assert_allclose(alpha * x0[0] + sigma * eps[0], x, rtol=1e-12)


def test_score_is_tweedies(x64, key):
    mixture, alpha, sigma = exact.mixture_2d(), 0.7, 0.6
    for x in jax.random.normal(key, (5, 2)):
        _, eps = exact.mixture_posterior(mixture, alpha, sigma, x)
        score = exact.mixture_score(mixture, alpha, sigma, x)
        np.testing.assert_allclose(score, -eps / sigma, rtol=1e-10)


def test_density_integrates_to_one(x64):
    grid = jnp.linspace(-8, 8, 321)
    points = jnp.stack(jnp.meshgrid(grid, grid), -1).reshape(-1, 2)
    log_density = lambda x: exact.mixture_log_density(exact.mixture_2d(), 0.8, 0.5, x)
    total = jnp.exp(jax.vmap(log_density)(points)).sum() * (grid[1] - grid[0]) ** 2
    np.testing.assert_allclose(total, 1, rtol=1e-10)


def test_samples_have_the_mixtures_law(key):
    # Quantiles under the exact law, 60,000 draws: false alarm 5e-7.
    mixture = exact.mixture_1d()
    x = exact.mixture_sample(key, mixture, 60_000)[:, 0]
    quantile = sum(
        w * stats.norm.cdf(x, m, s)
        for w, m, s in zip(
            mixture.weights, mixture.means[:, 0], np.sqrt(mixture.covariances[:, 0, 0])
        )
    )
    assert exact.standard_normal_p_value(stats.norm.ppf(quantile)) > 5e-7


def test_gaussian_closed_forms_agree_with_a_one_component_mixture(x64):
    class Path:
        alpha = staticmethod(lambda t: 1 - t)
        sigma = staticmethod(lambda t: t)

    mixture = exact.Mixture(jnp.ones(1), jnp.array([[0.4]]), jnp.array([[[0.49]]]))
    x, t = jnp.array([[-1.0], [0.3]]), jnp.array([0.2, 0.7])
    gaussian = exact.gaussian_denoiser(0.4, 0.7, Path)
    np.testing.assert_allclose(gaussian(x, t), exact.mixture_denoiser(mixture, Path)(x, t))
    by_flow = jax.jacfwd(lambda s: exact.gaussian_flow(0.4, 0.7, Path, 0.3, 0.7, s))(0.7)
    by_quantile = exact.mixture_velocity_1d(mixture, Path, 0.3, 0.7)
    np.testing.assert_allclose(by_flow, by_quantile, rtol=1e-10)


def test_standard_normal_p_value_is_calibrated():
    rng = np.random.default_rng(0)
    p = [exact.standard_normal_p_value(rng.standard_normal(500)) for _ in range(2_000)]
    assert np.mean(np.array(p) < 0.05) < 0.07  # at most 5 %, standard error 0.5 %
    assert exact.standard_normal_p_value(1.05**0.5 * rng.standard_normal(60_000)) < 5e-7
