"""The aggregate posterior as a target: its density against scipy, its draws against its density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from gen_jax import vae
from gen_jax.errors import ConfigError


def a_target(dim, count, std=0.3):
    """Means [N, D] and standard deviations in float64, and what is made of them."""
    rng = np.random.default_rng(0)
    means = 2 + rng.normal(size=(count, dim))  # not about 0, as a free encoder's may be
    stds = std * np.exp(0.5 * rng.normal(size=(count, dim)))
    posterior = vae.diagonal_gaussian(jnp.asarray(means), jnp.asarray(np.log(stds)))
    return means, stds, vae.aggregate_target(posterior)


def by_scipy(z, means, stds):
    terms = stats.norm.logpdf(z[:, None], means, stds).sum(-1)
    return special.logsumexp(terms, axis=1) - np.log(len(means))


def test_the_density_is_scipys(x64):
    means, stds, target = a_target(5, 40)
    z = np.concatenate([means[:20] + 0.1, 4 * np.random.default_rng(1).normal(size=(20, 5))])
    values = target.log_density(jnp.asarray(z))
    np.testing.assert_allclose(values, by_scipy(z, means, stds), rtol=1e-11)
    gradient = jax.grad(lambda z: target.log_density(z).sum())(jnp.asarray(z))
    up, down = (by_scipy(z + sign * 1e-5 * np.eye(5)[2], means, stds) for sign in (1, -1))
    np.testing.assert_allclose(gradient[:, 2], (up - down) / 2e-5, rtol=1e-5, atol=1e-5)


def test_narrow_components_in_float32():
    """Off by at most 1e-7 of the squared distances in deviations, a few thousand here."""
    means, stds, target = a_target(8, 200, std=0.05)
    z = (means + stds * np.random.default_rng(1).normal(size=means.shape)).astype(np.float32)
    distances = ((np.abs(z - means.mean(0)) + np.abs(means - means.mean(0))) / stds) ** 2
    wrong = np.abs(np.asarray(target.log_density(z)) - by_scipy(z.astype(float), means, stds))
    assert np.all(wrong < 1e-7 * distances.sum(1) + 1e-5)
    values = jax.jit(target.log_density)(z[:1])
    np.testing.assert_allclose(values, target.log_density(z)[:1], rtol=1e-5)


def test_it_integrates_to_one(x64):
    _, _, target = a_target(2, 7)
    assert target.log_normalizer == 0
    line = np.linspace(-4, 8, 801)
    points = jnp.asarray(np.stack(np.meshgrid(line, line), -1).reshape(-1, 2))
    density = np.exp(np.asarray(target.log_density(points))).reshape(801, 801)
    total = integrate.simpson(integrate.simpson(density, x=line), x=line)
    assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("planted", [1.0, 1.05])
def test_exact_samples_have_the_score_of_the_density(x64, key, planted):
    """E[score] = 0 and E[(z_i - 2) score_i] = -1, within five standard errors (1e-5 by chance)."""
    _, _, target = a_target(4, 30)
    z = 2 + planted * (np.asarray(target.sample(key, 20_000)) - 2)
    score = np.asarray(jax.grad(lambda z: target.log_density(z).sum())(jnp.asarray(z)))
    wrong = []
    for values, mean in ((score, 0.0), ((z - 2) * score, -1.0)):
        error = values.std(0) / np.sqrt(len(values))
        wrong += list(np.abs(values.mean(0) - mean) > 5 * error)
    assert any(wrong) == (planted != 1)


def test_only_diagonal_gaussians():
    family = vae.make_posterior("mixture")
    posterior = family.make(family.init(jax.random.key(0), 2), jnp.zeros((3, family.size(2))))
    with pytest.raises(ConfigError, match="diagonal Gaussians"):
        vae.aggregate_target(posterior)
