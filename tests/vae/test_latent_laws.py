"""Priors and posteriors: normalised, drawn from as they say, differentiable; diagnostics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import vae
from gen_jax.errors import ConfigError
from gen_jax.randomness import sample_keys

OPTIONS = {"iaf": {"context": 2, "hidden": (16,)}}
GRID = np.linspace(-9, 9, 361)
PLANE = np.stack(np.meshgrid(GRID, GRID), -1).reshape(-1, 2).astype(np.float32)
CELL = (GRID[1] - GRID[0]) ** 2


def bent(tree, key, scale=0.3):
    """Parameters moved away from where they start."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, max(len(leaves), 1))
    moved = [p + scale * jax.random.normal(k, p.shape, p.dtype) for p, k in zip(leaves, keys)]
    return jax.tree.unflatten(structure, moved)


def posterior_of(name, key, batch=1, scale=0.5):
    family = vae.make_posterior(name, **OPTIONS.get(name, {}))
    params = bent(family.init(key, 2), key)
    raw = scale * jax.random.normal(key, (1, family.size(2)))
    return family.make(params, jnp.broadcast_to(raw, (batch, raw.shape[1])))


def check_draws(z, weights, log_p):
    """Density integrates to 1 and the draws' weighted moments are those of the integral."""
    p = np.exp(np.asarray(log_p, np.float64)) * CELL
    assert p.sum() == pytest.approx(1, abs=2e-3)
    weights = weights / weights.mean()
    for f in (lambda a: a[:, 0], lambda a: a[:, 1], lambda a: a[:, 0] * a[:, 1]):
        terms = weights * f(z)
        error = terms.std() / np.sqrt(len(z))
        truth = p @ f(PLANE.astype(np.float64))
        assert abs(terms.mean() - truth) < 5.1 * error
        assert abs(terms.mean() - truth - 0.1 * terms.std()) > 5.1 * error  # planted


@pytest.mark.parametrize("name", vae.POSTERIORS)
def test_posteriors_draw_what_their_density_says(key, name):
    n = 10_000
    posterior = posterior_of(name, key, n)
    sampled = jax.jit(lambda keys: posterior.draw(posterior.params, keys))(sample_keys(key, n))
    strata = len(sampled.z)
    np.testing.assert_allclose(np.exp(sampled.log_share).sum(0), 1, rtol=1e-5)
    wide = posterior_of(name, key, len(PLANE))
    log_p = jax.jit(lambda z: wide.log_prob(wide.params, z))(PLANE)
    # One stratum per example, weighted by its share: independent terms.
    chosen = np.arange(n) % strata
    z = np.asarray(sampled.z)[chosen, np.arange(n)].astype(np.float64)
    weights = strata * np.exp(np.asarray(sampled.log_share, np.float64))[chosen, np.arange(n)]
    p = np.exp(np.asarray(log_p, np.float64)) * CELL
    assert p.sum() == pytest.approx(1, abs=2e-3)
    for f in (lambda a: a[:, 0], lambda a: a[:, 1], lambda a: a[:, 0] * a[:, 1]):
        terms, truth = weights * f(z), p @ f(PLANE.astype(np.float64))
        # Strata have means of their own: the variance within them alone counts.
        error = np.sqrt(np.mean([terms[chosen == s].var() for s in range(strata)]) / n)
        assert abs(terms.mean() - truth) < 5.1 * error
        assert abs(terms.mean() - truth - 0.1 * terms.std()) > 5.1 * error  # planted
    log_q = posterior.log_prob(posterior.params, sampled.z[0])
    np.testing.assert_allclose(log_q, sampled.log_q[0], atol=2e-4)


@pytest.mark.parametrize("name", vae.POSTERIORS)
def test_draws_pass_gradients_to_every_parameter(key, name):
    family = vae.make_posterior(name, **OPTIONS.get(name, {}))
    params = bent(family.init(key, 2), key)
    raw = 0.5 * jax.random.normal(key, (2, family.size(2)))

    def value(params, raw):
        posterior = family.make(params, raw)
        z, log_q, log_share = posterior.draw(posterior.params, sample_keys(key, 2))
        return jnp.sum(jnp.exp(log_share) * (jnp.sin(z).sum(-1) - 0.3 * log_q))

    value = jax.jit(value)
    gradients = jax.jit(jax.grad(value, (0, 1)))(params, raw)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))
    assert np.abs(gradients[1]).min() > 0
    numeric = (value(params, raw + 1e-2) - value(params, raw - 1e-2)) / 2e-2
    np.testing.assert_allclose(gradients[1].sum(), numeric, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", vae.PRIORS)
@pytest.mark.parametrize("posterior", ["diagonal", "mixture"])
def test_priors_draw_what_their_density_says(key, name, posterior):
    if posterior == "mixture" and name != "vamp":
        pytest.skip("only VampPrior sees the posterior")
    family = vae.make_posterior(posterior)
    own = bent(family.init(key, 2), key)
    weight = 0.4 * jax.random.normal(key, (3, family.size(2)))
    encode = lambda inputs: family.make(own, jnp.tanh(inputs) @ weight)
    options = {"standard_normal": {}, "flow": {"hidden": (8,), "layers": 2}}
    prior_family = vae.make_prior(name, **options.get(name, {"components": 4}))
    params = bent(prior_family.init(key, 2, jnp.linspace(-1, 1, 30).reshape(10, 3)), key, 0.1)
    prior = prior_family.make(params, 2, encode)
    z = np.asarray(jax.jit(prior.sample)(sample_keys(key, 10_000)), np.float64)
    check_draws(z, np.ones(len(z)), jax.jit(prior.log_prob)(PLANE))


def test_pseudo_inputs_start_at_data_and_stay_in_range(key):
    inputs = jnp.sign(jax.random.normal(key, (20, 5)))
    prior = vae.make_prior("vamp", components=6)
    seen = []

    def encode(x):
        seen.append(np.asarray(x))
        return vae.diagonal_gaussian(x[:, :2], x[:, 2:4])

    params = prior.init(key, 2, inputs)
    prior.make(params, 2, encode)
    np.testing.assert_allclose(np.abs(seen[0]), 0.9, rtol=1e-5)
    assert all((np.sign(row) == inputs).all(1).any() for row in seen[0])
    prior.make(params + 100, 2, encode)
    assert np.abs(seen[1]).max() <= 1


def test_posterior_means(key):
    keys = sample_keys(key, 2)
    np.testing.assert_array_equal(
        vae.posterior_mean(vae.diagonal_gaussian(jnp.ones((2, 3)), jnp.zeros((2, 3))), keys), 1
    )
    posterior = posterior_of("mixture", key, 2)
    log_weights, means, _ = posterior.params
    truth = np.einsum("bm,bmd->bd", np.exp(log_weights), means)
    found = jax.jit(lambda keys: vae.posterior_mean(posterior, keys, 4000))(keys)
    np.testing.assert_allclose(found, truth, atol=5.1 * 2 / np.sqrt(4000))


def test_active_units_are_those_whose_means_vary(key):
    means = jax.random.normal(key, (500, 3)) * jnp.array([1.0, 0.05, 0.5])
    count, variance = vae.active_units(means)
    assert int(count) == 2
    np.testing.assert_allclose(variance, np.var(means, 0), rtol=1e-4)


def test_information_of_a_gaussian_channel(x64, key):
    """x_j ~ N(0, s^2), q = N(x, 1): I = log(1 + s^2) / 2, gap = KL(N(0, 1 + s^2) || N(0, 1))."""
    n, s = 2000, 1.5
    x = s * jax.random.normal(key, (n, 1))
    zeros, prior = jnp.zeros((n, 1)), vae.standard_normal(1)
    run = jax.jit(lambda m: vae.information(key, vae.diagonal_gaussian(m, zeros), prior, n))
    kl, shared, gap = run(x)
    total = 1 + s**2
    np.testing.assert_allclose(shared, 0.5 * np.log(total), atol=0.1)
    np.testing.assert_allclose(gap, 0.5 * (s**2 - np.log(total)), atol=0.2)
    np.testing.assert_allclose(kl, shared + gap, rtol=1e-6)
    np.testing.assert_allclose(run(zeros), 0, atol=1e-12)


def test_hole_score_is_the_level_without_holes_and_high_with(key):
    n, prior = 600, vae.standard_normal(2)
    z = jax.random.normal(key, (n, 2))
    score = jax.jit(
        lambda mean, log_std: vae.hole_score(key, vae.diagonal_gaussian(mean, log_std), prior, n)
    )
    assert float(score(0.9 * z, jnp.full((n, 2), 0.5 * np.log(0.19)))) < 0.035
    ring = 3 * z / jnp.linalg.norm(z, axis=1, keepdims=True)
    assert float(score(ring, jnp.full((n, 2), -2.0))) > 0.8


def test_codebook_use():
    use = vae.codebook_use(jnp.array([[0, 1], [1, 0], [3, 3], [0, 0]]), 4)
    np.testing.assert_array_equal(use.counts, [4, 2, 0, 2])
    np.testing.assert_allclose(use.perplexity, np.exp(1.5 * np.log(2)), rtol=1e-6)
    assert float(use.dead) == 0.25


@pytest.mark.parametrize("make", [vae.make_posterior, vae.make_prior])
def test_unknown_names_are_refused(make):
    with pytest.raises(ConfigError, match="unknown"):
        make("vamb")
